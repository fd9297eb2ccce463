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
from tests.router.cli.test_cli_fit import invoke

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "forecasting.md").read_text(encoding="utf-8")


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


def write_runs(path: Path, *, sizes: int) -> None:
    """Five finished runs and one that has just begun; larger and longer ones end higher."""
    rows: list[tuple[object, ...]] = []
    for i, end in enumerate((0.50, 0.55, 0.60, 0.65, 0.70, 0.62)):
        for t in np.geomspace(10, 1000, 20):
            if i < 5 or t <= 60:
                value = end - 0.1 * (t / 1000) ** -0.3 + 0.1 + 0.002 * np.sin(t)
                grown = i if i < 5 else 2.4
                rows.append((f"run-{i}", t, value, 10.0**grown, 2.0**grown))
    header = ("run", "t", "value", "size", "length")
    with path.open("w", newline="") as handle:
        csv.writer(handle).writerows([row[: 3 + sizes] for row in (header, *rows)])


@pytest.mark.parametrize("sizes", [0, 1, 2])
def test_finished_runs_of_the_file_teach_the_one_that_has_begun(tmp_path: Path, sizes: int) -> None:
    write_runs(tmp_path / "c.csv", sizes=sizes)
    found = invoke("forecast", "curve", tmp_path / "c.csv", "--at", 1000, "--low", 0, "--high", 1, "--json")
    assert found.exit_code == 0, found.stderr
    (row,) = json.loads(found.stdout)["curves"]
    assert (row["run"], row["siblings"]) == ("run-5", 5)
    assert row["value"] == pytest.approx(0.62, abs=0.03)
    assert row["low"] <= 0.62 <= row["high"]
    alone = invoke("forecast", "curve", tmp_path / "c.csv", "--at", 1000, "--alone", "--json")
    rows = json.loads(alone.stdout)["curves"]
    assert len(rows) == 6
    assert {one["siblings"] for one in rows} == {0}


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


SOLVED = {"prompt": "what is 1", "solution": "the quick fox", "task": "a"}


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        pytest.param([], "no solution", id="none"),
        pytest.param([SOLVED, {"prompt": "what is 2"}], "line 2", id="a question without a solution"),
        pytest.param([SOLVED | {"solution": " "}], "not empty", id="an empty one"),
        pytest.param([SOLVED | {"solution": "fox " * 3000}], "fits into", id="longer than the context"),
        pytest.param([SOLVED | {"solution": 5}], "line 1", id="no text"),
    ],
)
def test_solutions_that_cannot_be_scored_are_told(
    rows: list[object], told: str, tiny_llama: Path, tmp_path: Path
) -> None:
    solved = lines(tmp_path / "s.jsonl", *rows)
    found = invoke("forecast", "rank", f"x={tiny_llama}", "--solutions", solved)
    assert found.exit_code != 0
    assert told in " ".join(found.stderr.split())
    assert "Traceback" not in found.stderr


def test_one_model_alone_is_ranked_and_two_of_a_name_are_not(tiny_llama: Path, tmp_path: Path) -> None:
    solved = lines(tmp_path / "s.jsonl", SOLVED, SOLVED | {"solution": "fox " * 3000, "task": "long"})
    found = invoke("forecast", "rank", f"x={tiny_llama}", "--solutions", solved, "--json")
    assert found.exit_code == 0, found.stderr
    assert list(json.loads(found.stdout)["proxies"]["x"]) == ["a"]
    twice = invoke("forecast", "rank", f"x={tiny_llama}", f"x={tiny_llama}", "--solutions", solved)
    assert "Two models" in twice.stderr
    away = invoke("forecast", "rank", "x=http://127.0.0.1:9", "--solutions", solved)
    assert away.exit_code != 0
    assert "Nothing useful answers" in " ".join(away.stderr.split())
    bytes_ = invoke("forecast", "rank", "x=http://127.0.0.1:9", "--solutions", solved, "--bytes")
    assert "how many bytes" in " ".join(bytes_.stderr.split())


def graded_set(folder: Path, correct: list[float], tokens: list[float]) -> Path:
    queries = Queries.build([f"{'fox ' * (1 + i % 8)}dog {i}" for i in range(len(correct))])
    table = np.array(correct)[:, None]
    Outcomes.build(queries, ["x"], table, input_tokens=np.array(tokens)[:, None]).save(folder)
    return folder


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_set_that_is_all_right_or_all_wrong_teaches_no_probe(
    value: float, tiny_llama: Path, tmp_path: Path
) -> None:
    graded = graded_set(tmp_path / "g", [value] * 30, [10.0] * 30)
    found = invoke("forecast", "checkpoint", f"x={tiny_llama}", "--prompts", graded)
    assert found.exit_code == 2
    assert "nothing to tell apart" in " ".join(found.stderr.split())
    lengths = invoke("forecast", "context", graded, "--json")
    assert lengths.exit_code == 0, lengths.stderr
    trend = json.loads(lengths.stdout)["candidates"]["x"]
    assert (trend["kind"], trend["parameters"]) == ("flat", [value])


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        pytest.param(["t,value", "1,0.5"], "3 checkpoints, not 1", id="one checkpoint"),
        pytest.param(["t,value", "1,0.5", "1,0.6", "1,0.7"], "3 checkpoints, not 1", id="one time"),
        pytest.param(["t,value", "0,0.5", "1,0.6", "2,0.7"], "t", id="time zero"),
        pytest.param(["t,value", "1,x", "1,0.6", "2,0.7"], "value", id="no number"),
        pytest.param(["t,value"], "no point", id="empty"),
        pytest.param(["t", "1"], "value", id="no column"),
    ],
)
def test_points_that_make_no_curve_are_told(rows: list[str], told: str, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("\n".join(rows) + "\n")
    found = invoke("forecast", "curve", tmp_path / "c.csv", "--at", 100)
    assert found.exit_code == 2
    assert told in " ".join(found.stderr.split())
    assert "Traceback" not in found.stderr


def test_a_curve_that_goes_up_and_down_has_a_wide_interval(tmp_path: Path) -> None:
    values = {"rising": (0.1, 0.2, 0.3, 0.4, 0.45, 0.5), "zigzag": (0.1, 0.5, 0.05, 0.6, 0.1, 0.5)}
    reach = {}
    for name, points in values.items():
        rows = ["t,value", *(f"{2**i},{value}" for i, value in enumerate(points))]
        (tmp_path / "c.csv").write_text("\n".join(rows) + "\n")
        found = invoke("forecast", "curve", tmp_path / "c.csv", "--at", 64, "--low", 0, "--high", 1, "--json")
        (row,) = json.loads(found.stdout)["curves"]
        assert 0 <= row["low"] <= row["value"] <= row["high"] <= 1
        reach[name] = row["high"] - row["low"]
    assert reach["zigzag"] > 2 * reach["rising"]
