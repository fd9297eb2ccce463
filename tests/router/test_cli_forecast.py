"""``foresight forecast`` on real model folders, its errors, and the page that shows it."""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from eval.outcomes import Outcomes
from eval.queries import Queries
from tests.router.test_cli_fit import invoke

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "forecasting.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module", name="graded")
def _graded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers of `early` to all questions, and of `late` to a few."""
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 9, 80)
    queries = Queries.build([f"{'fox ' * count}dog {i}" for i, count in enumerate(counts)])
    correct = np.column_stack([(counts < 5).astype(float), (counts < 7).astype(float)])
    correct[30:, 1] = np.nan
    folder = tmp_path_factory.mktemp("graded")
    tokens = np.repeat(counts[:, None] + 10.0, 2, axis=1)
    Outcomes.build(queries, ["early", "late"], correct, input_tokens=tokens).save(folder)
    return folder


def test_a_later_checkpoint_is_forecast_with_its_canary(graded: Path, tiny_llama: Path) -> None:
    found = invoke(
        "forecast", "checkpoint", f"early={tiny_llama}", f"late={tiny_llama}", "--prompts", graded, "--json"
    )
    assert found.exit_code == 0, found.stderr
    early, late = json.loads(found.stdout)["models"]
    assert (early["graded"], late["graded"]) == (80, 30)
    assert late["low"] <= late["accuracy"] <= late["high"]


def test_models_are_ranked_from_solutions_with_and_without_results(tiny_llama: Path, tmp_path: Path) -> None:
    solved = tmp_path / "solved.jsonl"
    lines = [{"prompt": f"what is {i}", "solution": f"the quick fox {i}", "task": "a"} for i in range(4)]
    solved.write_text("".join(json.dumps(line) + "\n" for line in lines))
    models = [f"{name}={tiny_llama}" for name in ("x", "y")]
    found = invoke("forecast", "rank", *models, "--solutions", solved, "--json")
    assert found.exit_code == 0, found.stderr
    shown = json.loads(found.stdout)
    assert len(shown["proxies"]["x"]["a"]) == 80
    results = tmp_path / "results.csv"
    results.write_text("model,task,accuracy\nx,a,0.4\n")
    again = invoke("forecast", "rank", *models, "--solutions", solved, "--results", results, "--json")
    rows = {row["model"]: row for row in json.loads(again.stdout)["models"]}
    assert rows["y"]["level"] == pytest.approx(0.4)
    assert rows["y"]["low"] < rows["y"]["level"] < rows["y"]["high"]


def test_a_curve_is_carried_on_and_drawn(tmp_path: Path) -> None:
    with (tmp_path / "c.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([("t", "value"), *((t, 0.8 - 0.5 * t**-0.5) for t in (1, 2, 4, 8))])
    found = invoke(
        "forecast", "curve", tmp_path / "c.csv", "--at", 100, "--picture", tmp_path / "c.svg", "--json"
    )
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["curves"][0]["value"] == pytest.approx(0.75, abs=0.02)
    assert (tmp_path / "c.svg").read_text().startswith("<svg")


def test_lengths_are_fitted(graded: Path) -> None:
    found = invoke("forecast", "context", graded, "--candidate", "early", "--limit", 512, "--json")
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["candidates"]["early"]["kind"] in {"law", "isotonic", "flat"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param(("checkpoint", "nowhere", "--prompts", "."), "no model folder", id="model"),
        pytest.param(("curve", "nowhere.csv", "--at", "1"), "cannot be read", id="file"),
        pytest.param(("context", "nowhere"), "nowhere", id="outcomes"),
    ],
)
def test_bad_input_is_told_in_one_line(words: tuple[str, ...], told: str) -> None:
    found = invoke("forecast", *words)
    assert found.exit_code == 2
    assert told in found.stderr
    assert "Traceback" not in found.stderr


def test_the_page_shows_only_commands_and_options_that_exist() -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    lines = [shlex.split(line) for block in blocks for line in block.splitlines()]
    assert {words[2] for words in lines if words[1] == "forecast"} == {
        "checkpoint",
        "rank",
        "curve",
        "context",
    }
    for words in lines:
        depth = 3 if words[1] == "forecast" else 2
        shown = invoke(*words[1:depth], "--help").stdout
        assert all(word in shown for word in words[depth:] if word.startswith("-")), words
