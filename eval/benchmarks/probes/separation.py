"""Rows from comparisons: separation, routing, headroom and calibration, set by set."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from eval.benchmarks.probes.comparison import OURS, Comparison, compare, with_interval
from eval.benchmarks.probes.sets import LADDER_HINT, load, read_ladder, read_minilm
from eval.benchmarks.row import Row, Setting
from eval.tables import Floats
from probes.metrics import ece

HEADROOM = ("zeroeval", "cruxeval", "llmrouter_ulab", "routellm")
LADDER_REACH = "mean AUROC within family ≥ .80; every baseline beaten, paired 95% interval above 0"
FLOOR_DRAWS = 20
SURFACE = ("tfidf", "length")


def rows(setting: Setting) -> Iterator[Row]:
    """The ladder, mmlu_pro, then the sets of the headroom rows."""
    yield from ladder_rows(setting)
    yield from mmlu_rows(setting)
    for name in HEADROOM:
        yield from headroom_rows(setting, name)


def ladder_rows(setting: Setting) -> Iterator[Row]:
    """Separation and calibration on the ladder; its scout is the packaged router's."""
    what = "separation on the ladder, each candidate, within family"
    outcomes = load(setting, "ladder")
    if outcomes is None:
        yield Row(what, LADDER_REACH, LADDER_HINT, None)
        return
    found = compare(setting, outcomes, read_ladder(setting, outcomes))
    within = found.results[OURS].auroc_within
    gains = {name: found.gain(name, within=True) for name in found.baselines}
    hardest = min(gains, key=lambda name: gains[name][1].low)
    listed = "; ".join(
        f"{name} {found.results[name].auroc_within:.3f} ({with_interval(*gain)})"
        for name, gain in gains.items()
    )
    measured = f"{within:.3f} (pooled {found.results[OURS].auroc:.3f}); baselines and our lead: {listed}"
    beaten = all(gain[1].low > 0 for gain in gains.values())
    yield Row(what, LADDER_REACH, f"{measured}; closest is {hardest}", within >= 0.8 and beaten)
    yield _each_candidate_row(found)
    yield calibration_row(found, "the ladder")


def _each_candidate_row(found: Comparison) -> Row:
    """The same, candidate by candidate, against what reads only the prompt's words or its length."""
    listed: list[str] = []
    lowest: list[float] = []
    for column, name in enumerate(found.sample.outcomes.candidates):
        own = float(np.mean([at.auroc for at in found.influences(OURS, within=True, candidate=column)]))
        leads = [found.gain(other, within=True, candidate=column) for other in SURFACE]
        told = ", ".join(
            f"{other} {with_interval(*lead)}" for other, lead in zip(SURFACE, leads, strict=True)
        )
        listed.append(f"{name} {own:.3f} ({told})")
        lowest.append(min(own - 0.75, *(lead[1].low for lead in leads)))
    return Row(
        "separation on the ladder, candidate by candidate, our lead",
        "each AUROC within family ≥ .75, above TF-IDF and length with its paired 95% interval",
        "; ".join(listed),
        bool(min(lowest) > 0),
    )


def mmlu_rows(setting: Setting) -> Iterator[Row]:
    """Separation, routing and calibration on mmlu_pro."""
    what = "separation on mmlu_pro, MiniLM scout"
    reach = "mean AUROC ≥ .70, within category ≥ .64"
    found = _compared(setting, "mmlu_pro")
    if found is None:
        yield Row(what, reach, _missing("mmlu_pro"), None)
        return
    ours = found.results[OURS]
    closest = max(found.baselines, key=lambda name: found.results[name].auroc)
    others = "; ".join(
        f"{name} {found.results[name].auroc:.3f}/{found.results[name].auroc_within:.3f}"
        for name in found.baselines
    )
    lead = with_interval(*found.gain(closest, within=False))
    measured = f"{ours.auroc:.3f}, within {ours.auroc_within:.3f} ({others}; lead over {closest} {lead})"
    yield Row(what, reach, measured, ours.auroc >= 0.70 and ours.auroc_within >= 0.64)
    yield _routing_row(found)
    yield calibration_row(found, "mmlu_pro")


def _routing_row(found: Comparison) -> Row:
    """Mean over the splits at the knob that was frozen on the calibration split."""
    ours = found.results[OURS]
    best = np.mean([split_best(found, i) for i in range(len(found.splits))])
    gap = {name: result.accuracy - float(best) for name, result in found.results.items()}
    low, high = ours.accuracy_gap_ci
    others = "; ".join(
        f"{name} {100 * gap[name]:+.2f} at {found.results[name].cost_ratio:.2f}" for name in found.baselines
    )
    measured = (
        f"{100 * gap[OURS]:+.2f} points [{100 * low:+.2f}, {100 * high:+.2f}] at {ours.cost_ratio:.2f} of "
        f"the best single's cost ({others})"
    )
    met = gap[OURS] >= -0.005 and ours.cost_ratio <= 0.5
    reach = "accuracy within 0.5 points of the best single at ≤ .50 of its cost"
    return Row(
        "routing on mmlu_pro, knob frozen on the calibration split, mean of 5 splits", reach, measured, met
    )


def split_best(found: Comparison, seed: int) -> float:
    """Accuracy of the best single candidate on one test split."""
    rows = found.trials[OURS][seed].test_rows
    return float(found.sample.outcomes.correct[rows, found.splits[seed].best].mean())


def headroom_rows(setting: Setting, name: str) -> Iterator[Row]:
    """P-AUCCC against every router in the table; without costs, the accuracy of the likeliest candidate."""
    what, reach = f"headroom on {name}", "best P-AUCCC of all routers in the table"
    found = _compared(setting, name)
    if found is None:
        yield Row(what, reach, _missing(name), None)
        return
    priced = found.sample.priced
    values = {
        router: result.p_auccc if priced else result.accuracy for router, result in found.results.items()
    }
    ranked = sorted(values, key=lambda router: -values[router])
    listed = ", ".join(f"{router} {values[router]:.4f}" for router in ranked)
    if priced:
        captured = found.results[OURS].headroom_captured
        low, high = found.results[OURS].p_auccc_ci
        measured = f"{listed}; ours [{low:.3f}, {high:.3f}], headroom captured {captured:+.1%}"
        yield Row(what, reach, measured, ranked[0] == OURS)
    else:
        best = np.mean([split_best(found, seed) for seed in range(len(found.splits))])
        note = (
            f"the set has no costs, so accuracy of the likeliest candidate (best single {best:.4f}): {listed}"
        )
        yield Row(what, reach, note, ranked[0] == OURS)
    yield calibration_row(found, name)


def calibration_row(found: Comparison, name: str) -> Row:
    """ECE and Brier score, beside the ECE that a perfect forecast would have on as many questions.

    The tests of all splits are pooled for it: ECE counts chance as error, most of all in small tests.
    """
    ours = found.results[OURS]
    briers = {router: found.results[router].brier for router in found.baselines}
    closest = min(briers, key=lambda router: briers[router])
    success, correct = _pooled(found)
    value = _median_ece(success, correct)
    measured = (
        f"ECE {value:.3f} over the pooled tests (a perfect forecast there: {_floor(success):.3f}; "
        f"mean of single tests {ours.ece:.3f}), Brier {ours.brier:.4f} (next {closest} {briers[closest]:.4f})"
    )
    return Row(
        f"calibration on {name}",
        "ECE ≤ .03 per candidate (median), Brier below every baseline's",
        measured,
        value <= 0.03 and ours.brier < briers[closest],
    )


def _pooled(found: Comparison) -> tuple[Floats, Floats]:
    """Our probabilities and the outcomes of all tests, one under the other."""
    correct = [found.sample.outcomes.correct[trial.test_rows] for trial in found.trials[OURS]]
    success = [trial.success for trial in found.trials[OURS] if trial.success is not None]
    return np.vstack(success), np.vstack(correct)


def _median_ece(success: Floats, correct: Floats) -> float:
    return float(np.median([ece(p, y) for p, y in zip(success.T, correct.T, strict=True)]))


def _floor(success: Floats) -> float:
    """ECE were our probabilities exactly right: of outcomes drawn from them."""
    rng = np.random.default_rng(0)
    drawn = [(rng.random(success.shape) < success).astype(float) for _ in range(FLOOR_DRAWS)]
    return float(np.mean([_median_ece(success, each) for each in drawn]))


def _compared(setting: Setting, name: str) -> Comparison | None:
    outcomes = load(setting, name)
    activations = None if outcomes is None else read_minilm(setting, outcomes)
    if outcomes is None or activations is None:
        return None
    return compare(setting, outcomes, activations)


def _missing(name: str) -> str:
    return f"unmeasured: needs the outcome set {name} under --data and the extra text-scout"
