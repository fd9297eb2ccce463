"""The policies' benchmark on small worlds with a known truth, and what it refuses to call a number."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eval.benchmarks.policies import floor, harm, published
from eval.benchmarks.policies.scored import Scored
from eval.benchmarks.row import Setting
from eval.harness import evaluate
from eval.outcomes import Outcomes
from eval.queries import Queries
from probes.errors import DataError
from tests.eval.sets import synthetic
from tests.router.worlds import draw_world


def test_the_published_sweep_is_recomputed(tmp_path: Path) -> None:
    sweep = {
        "math_single_acc_cost": {"gpt-oss-20b_high": [0.92, 40.0]},
        "math_utility_lambda_acc_cost": [[0, 0.9244, 25.4], [0.02, 0.9214, 19.81], [0.1, 0.9088, 11.65]],
        "math_cascade_math7b_to_ossmedium_tau_acc_cost": [[0.8, 0.906, 9.66], [0.9, 0.9142, 10.625775]],
        "math_cascade_refs": {"always_ossmedium": [0.9136, 11.781152]},
        "math_tier_cost_usd_train_mean": {
            "a": 0.000672,
            "b": 0.000887,
            "c": 0.002951,
            "d": 0.004033,
            "e": 0.009807,
        },
    }
    (tmp_path / published.SWEEPS).write_text(json.dumps(sweep))
    rows = list(published.rows(Setting(tmp_path, tmp_path)))
    assert [row.met for row in rows] == [True] * 4
    assert rows[0].measured.startswith("50.5%")
    (tmp_path / published.SWEEPS).unlink()
    assert [row.met for row in published.rows(Setting(tmp_path, tmp_path))] == [None, True]


def test_a_guaranteed_floor_is_kept_and_an_unguaranteed_one_is_not() -> None:
    table, outcome = draw_world(3000, seed=5)
    best = int(outcome.singles[0].argmax())
    found = Scored("world", table, outcome, np.arange(3000), best, True)
    safe, mean, bold = floor.tallies(found, 30)
    assert safe.missed <= 0.1
    assert bold.missed > 0.2
    assert safe.missed <= mean.missed <= bold.missed
    assert 0 <= safe.saving < bold.saving


def test_a_default_below_the_hull_is_harm() -> None:
    world = synthetic(400)
    result = evaluate(world.outcomes, scout=world.activations, routers=["foresight"], seeds=2, draws=100)
    assert result.default == "foresight"
    assert harm.shortfall(result)[0] <= 0
    router = result.routers["foresight"]
    lost = replace(router, cost=result.best_single.cost, accuracy=0.5, accuracy_gap_ci=router.accuracy_gap_ci)
    low = replace(lost, accuracy_gap_ci=type(router.accuracy_gap_ci)(-0.5, -0.3))
    assert harm.shortfall(replace(result, routers={"foresight": low}))[0] > 0.2


def noted(outcomes: Outcomes) -> str:
    return " ".join(evaluate(outcomes, routers=["length"], seeds=1, draws=50).notes)


def test_thin_data_are_reported_never_a_silent_number() -> None:
    outcomes = synthetic(300).outcomes
    assert "too wide" in noted(synthetic(30).outcomes)
    unanswered = outcomes.correct.copy()
    unanswered[:20] = np.nan
    assert "20 of 300 queries lack an outcome" in noted(replace(outcomes, correct=unanswered))
    partial = outcomes.correct.copy()
    partial[100:, 1] = np.nan
    assert "medium (33%)" in noted(replace(outcomes, correct=partial))
    gaps = outcomes.cost_usd.copy()
    gaps[:7, 0] = np.nan
    assert "7 missing costs" in noted(replace(outcomes, cost_usd=gaps))
    assert "Every cost is zero" in noted(replace(outcomes, cost_usd=np.zeros_like(gaps)))
    assert "no costs" in noted(synthetic(300, costs=None).outcomes)


def test_a_set_without_any_answer_is_refused() -> None:
    empty = Outcomes.build(Queries.build(["a", "b"]), ["m", "n"], np.full((2, 2), np.nan))
    with pytest.raises(DataError, match="too few to compare"), np.errstate(all="ignore"):
        evaluate(empty, routers=["length"], seeds=1)


def test_a_floor_that_nothing_reaches_leaves_the_best_single_and_says_so() -> None:
    # The shuffled labels know nothing; a floor above the best single's accuracy is out of anybody's reach.
    world = synthetic(400)
    result = evaluate(
        world.outcomes, scout=world.activations, routers=["shuffled"], seeds=2, draws=50, tolerance=-0.5
    )
    assert result.default == "best-single"
    assert result.routers["shuffled"].fallbacks == 2
    assert "no setting reached the target" in " ".join(result.notes)
