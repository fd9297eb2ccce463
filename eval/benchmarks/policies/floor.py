"""The quality floor: how often it is missed, and what the promise costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from eval.benchmarks.policies.scored import Scored, scored
from eval.benchmarks.row import Row, Setting
from router.fit.guarantee import certify, slacks
from router.fit.knob import DROP
from router.policies import QualityFloor

DELTA = 0.1
SPLITS = 1000
MOST = 3000
"""Questions of a set that are split again and again; more would only take longer."""


Test = tuple[float, float, float]
"""One test half: missed (0 or 1), saving, accuracy gained."""


@dataclass(frozen=True)
class Tally:
    """One policy over all splits: share of splits that miss the floor, mean saving, mean accuracy gained."""

    missed: float
    saving: float
    gain: float


def rows(setting: Setting) -> Iterator[Row]:
    """One row a set: guaranteed beside unguaranteed."""
    splits = 20 if setting.quick else SPLITS
    for found in scored(setting):
        safe, mean, bold = tallies(found, splits)
        money = "" if found.priced else " (priced by accuracy: no money)"
        yield Row(
            f"quality floor, {found.name}: missed on the test half of {splits:,} random splits, δ = .1",
            "<= 10%",
            f"{safe.missed:.1%}, saving {safe.saving:.1%}{money}, accuracy {100 * safe.gain:+.2f} points; "
            f"certified for the mean of all queries to come missed {mean.missed:.1%}, "
            f"saving {mean.saving:.1%}; without a guarantee missed {bold.missed:.1%}, "
            f"saving {bold.saving:.1%}, accuracy {100 * bold.gain:+.2f} points",
            safe.missed <= DELTA,
        )


def tallies(found: Scored, splits: int, seed: int = 0) -> tuple[Tally, Tally, Tally]:
    """Three policies over random halves, grouped by question.

    Guaranteed for the queries ahead, guaranteed for the mean of all queries to come (a weaker promise), and
    without a guarantee. A split misses where the test half's accuracy is below the reference's there less
    half a point.
    """
    rng = np.random.default_rng(seed)
    groups = np.unique(found.groups)
    safe: list[Test] = []
    mean: list[Test] = []
    bold: list[Test] = []
    for _ in range(splits):
        order = rng.permutation(groups)
        half = len(order) // 2
        limit = min(half, MOST // 2)
        here = np.flatnonzero(np.isin(found.groups, order[:half][:limit]))
        there = np.flatnonzero(np.isin(found.groups, order[half:][:limit]))
        calibrate, test = found.take(here), found.take(there)
        reference = found.table.names[found.reference]
        for tests, ahead in ((safe, len(there)), (mean, None)):
            certified = certify(
                reference,
                calibrate.table,
                calibrate.outcome,
                delta=DELTA,
                groups=calibrate.groups,
                ahead=ahead,
            )
            tests.append(_on(test, certified.policy))
        bold.append(_on(test, _bold(calibrate, reference)))
    return _tally(safe), _tally(mean), _tally(bold)


def _bold(calibrate: Scored, reference: str) -> QualityFloor:
    """The cheapest slack whose accuracy on the calibration half is high enough, luck included."""
    never = QualityFloor(reference)
    tried = slacks(calibrate.table, calibrate.reference)
    if not len(tried):
        return never
    choices = never.sweep(calibrate.table, tried)
    at = np.arange(len(calibrate.table))[None], choices
    target = calibrate.outcome.correct[:, calibrate.reference].mean() - DROP
    enough = calibrate.outcome.correct[at].mean(axis=1) >= target - 1e-12
    if not enough.any():
        return never
    cost = np.where(enough, calibrate.outcome.cost_usd[at].mean(axis=1), np.inf)
    return QualityFloor(reference, float(tried[int(cost.argmin())]))


def _on(test: Scored, policy: object) -> Test:
    assert isinstance(policy, QualityFloor)
    index = policy.choose(test.table).index
    at, home = (np.arange(len(index)), index), test.reference
    gain = float((test.outcome.correct[at] - test.outcome.correct[:, home]).mean())
    saving = 1 - float(test.outcome.cost_usd[at].sum() / test.outcome.cost_usd[:, home].sum())
    return float(gain < -DROP - 1e-12), saving, gain


def _tally(tests: list[Test]) -> Tally:
    return Tally(*(float(column) for column in np.mean(tests, axis=0)))
