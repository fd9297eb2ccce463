"""What the forecasts change in a router's decisions: before and after, for each of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.outcomes import Outcomes
from eval.queries import Queries
from probes.errors import ArtefactError, UsageError
from probes.forecast.checkpoint.powered import set_accuracy
from probes.forecast.rank.level import forecast_level
from probes.forecast.trend.lengths import fit_trend
from router.fit.fitting import fit_router
from router.router import LENGTHS, Router
from router.update.lengths import with_lengths
from router.update.newcomer import add
from tests.router.cli.test_cli_fit import invoke
from tests.router.fit.test_fitting import outcomes
from tests.router.pools import make_pool, pool_data
from tests.router.worlds import StatedDifficulty

EASY = "question 1: -2.5"
HARD = "question 2: 0.4"


@pytest.fixture(scope="module", name="router")
def _router() -> Router:
    made, _ = fit_router(make_pool(), **outcomes())
    return Router(
        made.pool, made.scorer, made.fitted, made.identity, encoder=StatedDifficulty(), record=made.record
    )


def reading(router: Router) -> Router:
    """The same with a scout at hand."""
    return Router(
        router.pool,
        router.scorer,
        router.fitted,
        router.identity,
        encoder=StatedDifficulty(),
        record=router.record,
    )


def test_a_new_checkpoint_takes_over_by_its_forecast_level(router: Router) -> None:
    """Forecasts of its questions and 100 grades say that `s` has become good: it is now chosen."""
    before = router.decide(HARD, min_success=0.6)
    assert before.candidate != "s"
    rng = np.random.default_rng(0)
    chance = rng.uniform(0.9, 0.99, 1000)
    rows = rng.choice(1000, 100, replace=False)
    level = set_accuracy(chance, rows, (rng.random(100) < chance[rows]).astype(float))
    grown, report = add(router, "s", level=level.value)
    after = reading(grown).decide(HARD, min_success=0.6)
    assert report.kind == "checkpoint"
    assert after.candidate == "s"
    assert after.success["s"] > before.success["s"]


def test_a_new_candidate_joins_by_its_rank_without_any_label(router: Router) -> None:
    known = np.array([router.fitted.success[name] for name in ("s", "m", "m:think")])
    scores = np.log(known / (1 - known))
    data = pool_data()
    cheap = {"name": "new", "price": {"usd_per_mtok_in": 0.1, "usd_per_mtok_out": 0.2}}
    data["candidates"].append(data["candidates"][1] | cheap)
    pool = make_pool(candidates=data["candidates"])
    chosen = {}
    for name, score in (("good", scores.max() + 0.5), ("bad", scores.min() - 3.0)):
        level = forecast_level(scores, known, float(score))
        grown, report = add(router, "new", pool=pool, level=level.rate)
        assert report.n_labels == 0
        chosen[name] = reading(grown).decide(HARD, min_success=0.6).candidate
    assert router.decide(HARD, min_success=0.6).candidate != "new"
    assert chosen["good"] == "new"
    assert chosen["bad"] != "new"


def test_a_long_prompt_moves_to_whoever_still_reads_it(router: Router, tmp_path: object) -> None:
    """Beyond the lengths that the probes know, the small candidate's trend falls: another one is chosen."""
    tokens = np.repeat(np.linspace(10, 400, 12), 200)
    rng = np.random.default_rng(0)
    falls = (rng.random(len(tokens)) < np.where(tokens < 150, 0.95, 0.1)).astype(float)
    trend = fit_trend(tokens, falls, limit=512, seen=(10, 60))
    shifted = reading(with_lengths(router, {"s": trend}))
    for one in (router, shifted):
        assert one.decide(EASY, min_success=0.7).candidate == "s"
    long = EASY + "0" * 300
    assert router.decide(long, min_success=0.7).candidate == "s"
    moved = shifted.decide(long, min_success=0.7)
    assert moved.candidate != "s"
    assert moved.success["m"] == pytest.approx(router.decide(long, min_success=0.7).success["m"])

    folder = tmp_path / "router"  # type: ignore[operator]
    shifted.save(folder)
    again = Router.load(folder, encoder=StatedDifficulty())
    assert again.decide(long, min_success=0.7).success == pytest.approx(moved.success)


def test_beyond_the_window_nobody_is_asked_whatever_the_trend_says(router: Router) -> None:
    trend = fit_trend([10.0], [1.0])
    shifted = reading(with_lengths(router, {"s": trend}))
    decision = shifted.decide(EASY + "0" * 600, min_success=0.1)
    assert "context" in decision.ineligible["s"]


def test_trends_of_nobody_and_damaged_ones_are_refused(router: Router) -> None:
    with pytest.raises(UsageError, match="no candidate"):
        with_lengths(router, {"who": fit_trend([10.0], [1.0])})
    with pytest.raises(ArtefactError):
        Router(
            router.pool,
            router.scorer,
            router.fitted,
            router.identity,
            record={**router.record, LENGTHS: {"s": {"kind": "law"}}},
        )


def command(*words: object) -> dict[str, Any]:
    """What a command prints as JSON."""
    found = invoke(*words, "--json")
    assert found.exit_code == 0, found.stderr
    told: dict[str, Any] = json.loads(found.stdout)
    return told


def test_all_three_reach_the_router_by_the_commands_that_a_user_has(
    router: Router, tiny_llama: Path, tmp_path: Path
) -> None:
    router.save(tmp_path / "router")

    def chosen(place: str, prompt: str, least: float) -> str | None:
        loaded = Router.load(tmp_path / place, encoder=StatedDifficulty())
        return loaded.decide(prompt, min_success=least).candidate

    assert chosen("router", HARD, 0.6) not in ("s", "new")
    models = [f"{name}={tiny_llama}" for name in ("early", "late")]
    found = command("forecast", "checkpoint", *models, "--prompts", graded_checkpoints(tmp_path / "graded"))
    level = found["models"][1]["accuracy"]
    command("add", tmp_path / "router", "s", "--level", level, "-o", tmp_path / "newer")
    assert chosen("newer", HARD, 0.6) == "s"

    data = pool_data()
    data["candidates"].append(data["candidates"][1] | {"name": "new", "price": CHEAP})
    (tmp_path / "scout").symlink_to(tiny_llama)
    (tmp_path / "pool.yaml").write_text(json.dumps(data))  # JSON is YAML
    (tmp_path / "solved.jsonl").write_text('{"prompt": "what is 1", "solution": "the fox", "task": "a"}\n')
    (tmp_path / "results.csv").write_text("model,task,accuracy\nknown,a,0.95\n")
    named = [f"{name}={tiny_llama}" for name in ("known", "new")]
    given = ("--solutions", tmp_path / "solved.jsonl", "--results", tmp_path / "results.csv")
    ranked = {row["model"]: row for row in command("forecast", "rank", *named, *given)["models"]}
    joining = ("--pool", tmp_path / "pool.yaml", "--level", ranked["new"]["level"], "-o", tmp_path / "wider")
    command("add", tmp_path / "router", "new", *joining)
    assert chosen("wider", HARD, 0.6) == "new"

    long = EASY + "0" * 300
    assert chosen("router", long, 0.7) == "s"
    told = ("--candidate", "s", "--limit", 512, "--seen", 60, "-o", tmp_path / "longer")
    command(
        "forecast", "context", falling_answers(tmp_path / "by-length"), "--router", tmp_path / "router", *told
    )
    assert chosen("longer", EASY, 0.7) == "s"
    assert chosen("longer", long, 0.7) != "s"


CHEAP = {"usd_per_mtok_in": 0.1, "usd_per_mtok_out": 0.2}


def graded_checkpoints(folder: Path) -> Path:
    """Half of the answers of `early` are right, nearly all of the thirty graded ones of `late`."""
    queries = Queries.build([f"{'fox ' * (1 + i % 8)}dog {i}" for i in range(80)])
    early = np.array([float(i % 8 < 4) for i in range(80)])
    late = np.array([float(i != 3) if i < 30 else np.nan for i in range(80)])
    Outcomes.build(queries, ["early", "late"], np.column_stack([early, late])).save(folder)
    return folder


def falling_answers(folder: Path) -> Path:
    """Answers of `s` that are right up to 150 tokens."""
    tokens = np.repeat(np.linspace(10, 400, 12), 40)
    right = np.where(tokens < 150, np.arange(480) % 20 > 0, np.arange(480) % 10 == 0).astype(float)
    queries = Queries.build([f"question {i}" for i in range(480)])
    Outcomes.build(queries, ["s"], right[:, None], input_tokens=tokens[:, None]).save(folder)
    return folder
