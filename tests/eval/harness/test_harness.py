"""The harness: honest comparisons, stable JSON, and no silent numbers."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest

from eval.harness import EvaluationResult, evaluate
from eval.harness.console import table
from eval.harness.contestants import make_forecaster
from eval.harness.evaluate import _default
from eval.harness.judge import judge
from eval.harness.sample import prepare
from eval.harness.trial import forecast_trial, make_split, mixture_trial
from eval.outcomes import Outcomes
from probes.errors import DataError, UsageError
from tests.eval.sets import Synthetic, synthetic

ROUTER_FIELDS = {
    *("auroc", "auroc_within", "auroc_contestable", "ece", "brier", "accuracy", "cost", "cost_ratio"),
    *("saving_ci", "accuracy_gap_ci", "cost_at_parity", "p_auccc", "mdp_auccc", "aiq", "apgr", "cpt50"),
    *("cpt80", "headroom_captured", "curve"),
}
FIELDS = {
    *("outcomes", "queries", "candidates", "scout", "seeds", "best_single", "oracle", "hull"),
    *("routers", "default"),
}


@pytest.fixture(scope="module")
def world() -> Synthetic:
    return synthetic()


@pytest.fixture(scope="module")
def result(world: Synthetic) -> EvaluationResult:
    return evaluate(world.outcomes, scout=world.activations, scout_name="truth", seeds=3, draws=200)


def test_the_json_has_the_documented_fields_and_is_strict(result: EvaluationResult) -> None:
    found = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert found.keys() >= FIELDS
    assert found["candidates"] == ["small", "medium", "large"]
    assert found["best_single"].keys() == {"name", "accuracy", "cost"}
    assert set(found["routers"]) == {
        "foresight", "independent", "knn", "tfidf", "length", "shuffled", "random", "hull"
    }  # fmt: skip
    for router in found["routers"].values():
        assert router.keys() >= ROUTER_FIELDS
        assert all(len(point) == 3 for point in router["curve"])
    assert found["seeds"] == [0, 1, 2]
    assert found["scout"] == "truth"


def test_a_scout_that_knows_saves_money_and_shuffled_labels_do_not(result: EvaluationResult) -> None:
    ours, nothing = result.routers["foresight"], result.routers["shuffled"]
    assert ours.auroc > 0.85
    assert abs(nothing.auroc - 0.5) < 0.12
    assert ours.saving_ci.low > 0.2
    assert ours.accuracy > result.best_single.accuracy - 0.03
    assert ours.p_auccc > nothing.p_auccc
    assert ours.safe
    assert result.default in {"foresight", "independent", "knn"}
    assert not result.routers["hull"].safe


def test_nothing_beats_the_oracle_and_the_hull_is_no_router(result: EvaluationResult) -> None:
    for router in result.routers.values():
        assert router.curve.accuracy.max() <= result.oracle.accuracy + 0.05
        assert (router.band[0] <= router.curve.accuracy + 1e-12).all()
        assert (router.band[1] >= router.curve.accuracy - 1e-12).all()
    assert abs(result.routers["hull"].mdp_auccc) < 0.03
    assert result.routers["random"].apgr == pytest.approx(0.5, abs=0.01)
    assert np.isnan(result.routers["hull"].auroc)


@pytest.mark.parametrize("named", [["all"], ["length", "all"]])
def test_all_are_all_that_the_scout_allows(world: Synthetic, named: list[str]) -> None:
    found = evaluate(world.outcomes, routers=named, seeds=1, draws=20)
    assert set(found.routers) == {"tfidf", "length", "random", "hull"}


def test_the_same_seeds_give_the_same_numbers(world: Synthetic) -> None:
    options = {"routers": ["foresight", "length"], "seeds": [4], "draws": 50}
    first, second = (
        evaluate(world.outcomes, scout=world.activations, **options).to_json()  # type: ignore[arg-type]
        for _ in range(2)
    )
    assert first == second


def test_no_group_is_on_two_sides(world: Synthetic) -> None:
    sample = prepare(world.outcomes, world.activations)
    groups = np.array(sample.outcomes.groups)
    for seed in range(5):
        split = make_split(sample, seed, 0.005)
        parts = [set(groups[rows]) for rows in (split.train, split.calibrate, split.test)]
        assert not parts[0] & parts[1]
        assert not parts[0] & parts[2]
        assert not parts[1] & parts[2]
        assert sum(len(rows) for rows in (split.train, split.calibrate, split.test)) == len(groups)


def test_the_knob_is_frozen_without_a_look_at_the_test(world: Synthetic) -> None:
    sample = prepare(world.outcomes, world.activations)
    split = make_split(sample, 0, 0.005)
    correct = world.outcomes.correct.copy()
    correct[split.test] = 1 - correct[split.test]
    flipped = replace(sample, outcomes=replace(world.outcomes, correct=correct))
    for name in ("foresight", "knn"):
        honest, other = (forecast_trial(s, split, make_forecaster(name, 0)) for s in (sample, flipped))
        assert honest.frozen == other.frozen
        assert honest.most_accurate == other.most_accurate
        np.testing.assert_array_equal(honest.choice, other.choice)


def test_the_scout_is_charged_to_who_uses_it(world: Synthetic) -> None:
    options = {"routers": ["foresight", "tfidf"], "seeds": 1, "draws": 50}
    free = evaluate(world.outcomes, scout=world.activations, **options)  # type: ignore[arg-type]
    paid = evaluate(world.outcomes, scout=world.activations, scout_usd_per_mtok=10.0, **options)  # type: ignore[arg-type]
    extra = 100 * 10.0 / 1e6
    assert paid.routers["foresight"].cost == pytest.approx(free.routers["foresight"].cost + extra)
    assert paid.routers["tfidf"].cost == pytest.approx(free.routers["tfidf"].cost)


def test_a_mixture_ends_at_the_singles(world: Synthetic) -> None:
    sample = prepare(world.outcomes, None)
    split = make_split(sample, 0, 0.005)
    trial = mixture_trial(sample, split, corners=False)
    curve = trial.test.curve(trial.knob)
    assert curve.cost[0] == pytest.approx(trial.singles.cost.min())
    assert curve.accuracy[-1] == pytest.approx(trial.singles.accuracy[split.best])


def test_without_headroom_nobody_is_deployed() -> None:
    world = synthetic(400, signal=0.0)
    same = replace(world.outcomes, correct=np.tile(world.outcomes.correct[:, 2:], (1, 3)))
    found = evaluate(same, scout=world.activations, routers=["foresight", "knn"], seeds=2, draws=100)
    assert found.best_single.name == "small"
    assert found.default == "best-single"
    assert all(
        router.accuracy == pytest.approx(found.best_single.accuracy, abs=0.1)
        for router in found.routers.values()
    )


def test_equal_prices_have_no_areas_and_say_so() -> None:
    world = synthetic(400, costs=(0.01, 0.01, 0.01))
    found = evaluate(world.outcomes, scout=world.activations, routers=["foresight"], seeds=2, draws=50)
    row = found.to_json()["routers"]["foresight"]
    assert row["p_auccc"] is None
    assert row["apgr"] is None
    assert row["cost_ratio"] == pytest.approx(1)
    assert any("nothing to save" in note for note in found.notes)


@pytest.mark.parametrize("costs", [None, (0.0, 0.0, 0.0)])
def test_without_costs_only_accuracy_is_compared(costs: tuple[float, ...] | None) -> None:
    world = synthetic(400, costs=costs)
    found = evaluate(
        world.outcomes, scout=world.activations, routers=["foresight", "random"], seeds=2, draws=50
    )
    row = found.to_json()["routers"]["foresight"]
    assert row["cost"] is row["cost_ratio"] is row["saving_ci"] is row["curve"] is None
    assert row["accuracy"] > 0.5
    assert found.to_json()["best_single"]["cost"] is None
    assert any("accuracy only" in note for note in found.notes)


def test_gaps_are_left_out_and_reported(world: Synthetic) -> None:
    correct = world.outcomes.correct.copy()
    correct[:400, 0] = np.nan
    correct[:7, 1] = np.nan
    cost = np.where(np.arange(600)[:, None] < 5, np.nan, world.outcomes.cost_usd)
    gappy = replace(world.outcomes, correct=correct, cost_usd=cost)
    sample = prepare(gappy, world.activations)
    assert sample.outcomes.candidates == ("medium", "large")
    assert len(sample.outcomes) == 593
    assert len(sample.features) == 593
    assert any("small (33%)" in note for note in sample.notes)
    assert any("7 of 600 queries" in note for note in sample.notes)
    all_kept = prepare(replace(gappy, correct=world.outcomes.correct), None)
    assert any("15 missing costs" in note for note in all_kept.notes)


def test_a_small_set_is_called_small_and_a_tiny_one_refused() -> None:
    small = synthetic(60)
    found = evaluate(small.outcomes, scout=small.activations, routers=["foresight"], seeds=1, draws=20)
    assert any("too wide to be of use" in note for note in found.notes)
    with pytest.raises(DataError, match="too few to compare"):
        evaluate(small.outcomes.take(np.arange(5)), routers=["length"])
    with pytest.raises(DataError, match="too few to compare"):
        evaluate(small.outcomes.select(["large"]), routers=["length"])


def test_bad_requests_name_the_fault(world: Synthetic) -> None:
    with pytest.raises(UsageError, match="no router 'magic'"):
        evaluate(world.outcomes, routers=["magic"])
    with pytest.raises(UsageError, match="there is no scout") as caught:
        evaluate(world.outcomes, routers=["knn"])
    assert "--scout" in str(caught.value.hint)
    with pytest.raises(UsageError, match="do not fit 10 queries"):
        evaluate(world.outcomes.take(np.arange(10)), scout=world.activations)
    with pytest.raises(UsageError, match="seed"):
        evaluate(world.outcomes, seeds=())


def test_progress_reaches_its_end(world: Synthetic) -> None:
    ticks: list[tuple[int, int]] = []
    evaluate(
        world.outcomes, routers=["length", "hull"], seeds=2, draws=20, progress=lambda *t: ticks.append(t)
    )
    assert ticks == [(i + 1, 5) for i in range(5)]


def test_the_table_shows_every_router(result: EvaluationResult) -> None:
    from rich.console import Console

    written = io.StringIO()
    Console(width=160, file=written).print(table(result))
    text = written.getvalue()
    assert all(name in text for name in (*result.routers, "best single", "oracle"))


def test_outcomes_survive_a_round_trip_through_the_harness(world: Synthetic, tmp_path: object) -> None:
    folder = str(tmp_path)
    world.outcomes.save(folder)
    loaded = Outcomes.load(folder)
    options = {"routers": ["length"], "seeds": 1, "draws": 20}
    first = evaluate(world.outcomes, **options).to_json()["routers"]  # type: ignore[arg-type]
    assert evaluate(loaded, **options).to_json()["routers"] == first  # type: ignore[arg-type]


def test_a_calibration_split_without_a_setting_counts_as_the_best_single_candidate(world: Synthetic) -> None:
    """One unlucky split makes a router neither unsafe nor, by an average over its settings, cheap."""
    sample = prepare(world.outcomes, world.activations)
    splits = [make_split(sample, seed, 0.005) for seed in (0, 1)]
    known = [forecast_trial(sample, split, make_forecaster("foresight", 0)) for split in splits]
    results = {name: judge(sample, splits, known, draws=100) for name in ("lucky", "unlucky")}
    unlucky = [known[0], replace(known[1], frozen=None)]
    assert judge(sample, splits, unlucky, draws=100).safe
    assert _default(sample, splits, {"unlucky": unlucky, "lucky": known}, results) == "lucky"
