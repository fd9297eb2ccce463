"""From a pool file and graded answers to a router, and from a prompt to its decision, with a real scout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner, Result

from eval.outcomes import Outcomes
from eval.queries import Queries
from router.cli.app import app
from tests.router.pools import pool_data

WORDS = ("fox", "dog", "quick", "lazy", "brown")


def invoke(*arguments: object) -> Result:
    """Run the command line; its failures are the caller's to check."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="foresight")


@pytest.fixture(scope="module", name="world")
def _world(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pool.yaml, outcomes/ and router/; the more words, the harder the prompt."""
    folder = tmp_path_factory.mktemp("world")
    data = pool_data()
    data["scout"]["model"] = data["backends"]["near"]["model_path"] = str(tiny_llama)
    (folder / "pool.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 9, 160)
    prompts = [" ".join(rng.choice(WORDS, count)) for count in counts]
    lines = [{"query_id": f"q{i}", "prompt": prompt, "reference": "1"} for i, prompt in enumerate(prompts)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    success = 1 / (1 + np.exp(counts[:, None] - np.array([3, 6, 8])))
    correct = (rng.random((160, 3)) < success).astype(float)
    lengths = np.tile([20.0, 30.0, 90.0], (160, 1))
    Outcomes.build(
        Queries.load(folder / "queries.jsonl"),
        ["m", "s", "m:think"],
        correct[:, [1, 0, 2]],
        output_tokens=lengths[:, [1, 0, 2]],
        input_tokens=np.full((160, 3), 12.0),
    ).save(folder / "outcomes")
    found = invoke("fit", folder / "pool.yaml", folder / "outcomes", "-o", folder / "router", "--json")
    assert found.exit_code == 0, found.stderr
    (folder / "report.json").write_text(found.stdout)
    return folder


def test_fit_reports_in_json(world: Path) -> None:
    report = json.loads((world / "report.json").read_text())

    assert list(report["candidates"]) == ["s", "m", "m:think"]
    assert report["cheapest"] == "s"
    assert report["candidates"]["m"]["auroc"] > 0.6
    assert set(report["routed"]) == {"cheapest-likely", "tolerance", "utility", "quality-floor"}


def test_route_explains_a_decision(world: Path) -> None:
    found = invoke("route", world / "router", "the quick brown fox", "--policy", "careful")

    assert found.exit_code == 0
    for word in ("candidate", "success", "expected tokens", "expected cost", "m:think", "policy tolerance"):
        assert word in found.stdout


def test_route_takes_messages_and_wishes_and_answers_in_json(world: Path) -> None:
    messages = json.dumps([{"role": "user", "content": "fox"}])
    found = invoke("route", world / "router", messages, "--quality", 0, "--exclude", "s", "--json")
    decision: dict[str, Any] = json.loads(found.stdout)

    assert found.exit_code == 0
    assert decision["candidate"] == "m"
    assert decision["ineligible"] == {"s": "excluded by the request"}
    assert set(decision["success"]) == {"s", "m", "m:think"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["fox", "--policy", "carefull"], "no policy 'carefull'", id="policy"),
        pytest.param(["  "], "prompt is empty", id="empty prompt"),
        pytest.param(["[]"], "messages is empty", id="no messages"),
        pytest.param(["fox", "--max-cost", "1e-9"], "No candidate is expected to cost", id="cost"),
        pytest.param(["fox", "--quality", "2"], "between 0 and 1", id="quality"),
        pytest.param(["fox", "--exclude", "nobody"], "no candidate 'nobody'", id="exclude"),
    ],
)
def test_route_tells_what_is_wrong(world: Path, arguments: list[str], words: str) -> None:
    found = invoke("route", world / "router", *arguments)

    assert (found.exit_code, found.stdout) == (2, "")
    assert words in found.stderr
    assert "Traceback" not in found.stderr


def test_a_router_of_another_scout_is_refused(world: Path, tmp_path: Path) -> None:
    data = yaml.safe_load((world / "pool.yaml").read_text())
    data["scout"]["template_kwargs"] = {"enable_thinking": True}
    (tmp_path / "pool.yaml").write_text(yaml.safe_dump(data))
    found = invoke("route", world / "router", "fox", "--pool", tmp_path / "pool.yaml")

    assert found.exit_code == 2
    assert "template_hash" in found.stderr


def test_fit_refuses_outcomes_without_a_candidate_of_the_pool(world: Path, tmp_path: Path) -> None:
    data = yaml.safe_load((world / "pool.yaml").read_text())
    data["candidates"][0]["name"] = "xs"
    (tmp_path / "pool.yaml").write_text(yaml.safe_dump(data))
    found = invoke("fit", tmp_path / "pool.yaml", world / "outcomes", "-o", tmp_path / "router")

    assert found.exit_code == 2
    assert "no outcomes of 'xs'" in found.stderr
    assert not (tmp_path / "router").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda text: text.replace("correct", "corect"), "correct", id="missing column"),
        pytest.param(lambda text: text.replace("q3,m,", "q3,m,nan", 1), "nan", id="NaN"),
    ],
)
def test_fit_names_what_is_wrong_in_a_table(world: Path, tmp_path: Path, change: Any, words: str) -> None:
    folder = tmp_path / "outcomes"
    folder.mkdir()
    (folder / "queries.jsonl").write_text((world / "outcomes" / "queries.jsonl").read_text())
    (folder / "outcomes.csv").write_text(change((world / "outcomes" / "outcomes.csv").read_text()))
    found = invoke("fit", world / "pool.yaml", folder, "-o", tmp_path / "router")

    assert found.exit_code == 2
    assert words in found.stderr
    assert not (tmp_path / "router").exists()


def test_evaluate_charges_what_the_pools_scout_costs(world: Path, tiny_llama: Path, tmp_path: Path) -> None:
    priced = shutil.copytree(world / "outcomes", tmp_path / "outcomes")
    prices = "".join(f"{name},{usd},{usd}\n" for name, usd in (("s", 1), ("m", 10), ("m:think", 10)))
    (priced / "prices.csv").write_text("model,usd_per_mtok_in,usd_per_mtok_out\n" + prices)

    def saved(*arguments: object) -> Any:
        told = tmp_path / "told.json"
        found = invoke("evaluate", priced, "--seeds", 1, "--json", told, *arguments)
        assert found.exit_code == 0, found.stderr
        return json.loads(told.read_text())["routers"]["foresight"]

    data = yaml.safe_load((world / "pool.yaml").read_text())
    data["scout"]["price_usd_per_mtok"] = 3.0
    (tmp_path / "pool.yaml").write_text(yaml.safe_dump(data))
    asked = ("--scout", tiny_llama, "--routers", "foresight")
    charged = saved(*asked, "--pool", tmp_path / "pool.yaml")

    assert charged == saved(*asked, "--scout-price", 3.0)
    assert charged != saved(*asked)
    assert saved(*asked, "--pool", tmp_path / "pool.yaml", "--scout-price", 0.0) == saved(*asked)


def test_add_brings_a_newcomer_and_a_new_checkpoint_into_a_router(world: Path, tmp_path: Path) -> None:
    data = yaml.safe_load((world / "pool.yaml").read_text())
    data["candidates"].append(data["candidates"][1] | {"name": "xl"})
    (tmp_path / "pool.yaml").write_text(yaml.safe_dump(data))
    old = Outcomes.load(world / "outcomes").take(np.arange(60))
    right = np.column_stack([old.correct, np.ones(60)])
    right[::7, -1] = 0.0
    Outcomes.build(old.queries, [*old.candidates, "xl"], right).save(tmp_path / "answers")
    asked = ("--pool", tmp_path / "pool.yaml", "--outcomes", tmp_path / "answers")
    found = invoke("add", world / "router", "xl", *asked, "-o", tmp_path / "router", "--json")
    told = json.loads(found.stdout)

    assert found.exit_code == 0
    assert (told["kind"], told["n_labels"], told["router"]) == ("candidate", 60, str(tmp_path / "router"))
    assert told["level"] == pytest.approx(right[:, -1].mean(), abs=0.15)
    assert [row["n_labels"] for row in told["errors"]] == [0, 20, 50, 60, 100, 200]
    routed = invoke("route", tmp_path / "router", "fox", "--json")
    assert set(json.loads(routed.stdout)["success"]) == {"s", "m", "m:think", "xl"}

    again = invoke("add", tmp_path / "router", "m", "--outcomes", tmp_path / "answers")
    assert again.exit_code == 0
    for word in ("new checkpoint", "60", "before:", "verdict", "What labels bring"):
        assert word in again.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["xl"], "No pool describes 'xl'", id="unknown candidate"),
        pytest.param(["m"], "nothing is known of its new checkpoint", id="no labels"),
        pytest.param(["m", "--level", "1.5"], "level must lie between", id="level"),
        pytest.param(["xl", "--outcomes", "outcomes"], "has no outcomes of 'xl'", id="not graded"),
        pytest.param(["m", "--outcomes", "nowhere"], "nowhere", id="no outcome set"),
    ],
)
def test_add_tells_what_is_wrong_and_writes_nothing(
    world: Path, tmp_path: Path, arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    found = invoke("add", "router", *arguments, "-o", tmp_path / "router")

    assert found.exit_code != 0
    assert words in " ".join(found.stderr.split())
    assert "Traceback" not in found.stderr
    assert not (tmp_path / "router").exists()
