"""One router on one split: fitted, calibrated, its knob swept and frozen before the test is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.baselines.base import Forecaster
from eval.harness.sample import Sample
from eval.metrics.curves import Curve, Ints, Singles
from eval.metrics.frontier import hull
from eval.tables import Floats
from probes.scoring.calibration import Calibrator
from probes.splits import grouped_split
from router.policies import CandidateTable, Utility

FRACTIONS: Mapping[str, float] = {"train": 0.6, "calibrate": 0.2, "test": 0.2}
"""Shares of the three splits."""

Index = np.ndarray[Any, np.dtype[np.intp]]


@dataclass(frozen=True)
class Split:
    """Rows of the three splits of one seed, and what may be known of prices before the test.

    Attributes
    ----------
    train, calibrate, test : ndarray of int
        Row positions; no group of questions is in two of them.
    expected_cost : ndarray of shape (K,)
        Mean cost of each candidate on the training split.
    best : int
        The most accurate candidate over all queries: the one to beat.
    tolerance : float
        Accuracy that the frozen knob may give up against it.
    """

    train: Index
    calibrate: Index
    test: Index
    expected_cost: Floats
    best: int
    tolerance: float


@dataclass(frozen=True)
class Swept:
    """Results of m knob settings on n queries.

    Attributes
    ----------
    correct, cost : ndarray of shape (m, n)
        Share of right answers, and US dollars, the scout's included.
    """

    correct: Floats
    cost: Floats

    def curve(self, knob: Floats) -> Curve:
        """Means over the queries."""
        return Curve(self.cost.mean(axis=1), self.correct.mean(axis=1), knob)


@dataclass(frozen=True)
class Trial:
    """What one router did on one split.

    Attributes
    ----------
    test_rows : ndarray of int
        Rows of the test split.
    knob : ndarray of shape (m,)
        Settings.
    calibrate, test : Swept
        Results on either split.
    frozen : int or None
        Setting chosen on the calibration split; None when none reached the target there, in which case
        the best single candidate answers.
    most_accurate : int
        The setting with the highest accuracy on the calibration split.
    singles : Singles
        The candidates on the test split.
    success : ndarray of shape (n, K), optional
        Calibrated probabilities on the test split.
    choice : ndarray of shape (n,), optional
        Who answered each test query at the frozen setting.
    """

    test_rows: Index
    knob: Floats
    calibrate: Swept
    test: Swept
    frozen: int | None
    most_accurate: int
    singles: Singles
    success: Floats | None = None
    choice: Ints | None = None


def make_split(sample: Sample, seed: int, tolerance: float) -> Split:
    """Split the queries by group."""
    parts = grouped_split(np.array(sample.outcomes.groups), FRACTIONS, seed)
    expected = sample.outcomes.cost_usd[parts["train"]].mean(axis=0)
    best = sample.singles.best
    return Split(parts["train"], parts["calibrate"], parts["test"], expected, best, tolerance)


def forecast_trial(sample: Sample, split: Split, forecaster: Forecaster) -> Trial:
    """Fit a forecaster, calibrate it, sweep the worth of a right answer, freeze it."""
    outcomes, features = sample.outcomes, sample.features
    forecaster.fit(outcomes.take(split.train), features[split.train])
    raw = {
        part: forecaster.predict(outcomes.queries.take(rows), features[rows])
        for part, rows in (("calibrate", split.calibrate), ("test", split.test))
    }
    logits = {part: np.log(p / (1 - p)) for part, p in raw.items()}
    calibrator = Calibrator.fit(
        logits["calibrate"],
        outcomes.correct[split.calibrate],
        trials=outcomes.samples[split.calibrate],
        kinds=("platt",),
    )
    success = {part: calibrator.transform(values) for part, values in logits.items()}
    knob = worths(sample)
    choices = {part: _choices(sample, split, values, knob) for part, values in success.items()}
    charge = sample.scout_cost if forecaster.needs_features else np.zeros(len(outcomes))
    swept = {
        part: _swept(sample, rows, choices[part], charge)
        for part, rows in (("calibrate", split.calibrate), ("test", split.test))
    }
    frozen = freeze(swept["calibrate"], sample, split)
    choice = np.full(len(split.test), split.best) if frozen is None else choices["test"][frozen]
    return _trial(sample, split, knob, swept, frozen, success["test"], choice)


def mixture_trial(sample: Sample, split: Split, *, corners: bool) -> Trial:
    """Toss a coin: between the cheapest and the best candidate, or along the singles' whole hull.

    Mixtures are priced and scored by expectation. The hull is found on the training split.
    """
    outcomes = sample.outcomes
    known = Singles(split.expected_cost, outcomes.correct[split.train].mean(axis=0))
    if corners:
        ends = hull(known.cost, known.accuracy).knob.astype(int)
    else:
        ends = np.array([known.cheapest, split.best])
    knob = np.linspace(0, 1, 61) ** 3
    # Where each share of the way from the lowest to the highest cost lies between two corners.
    cost = known.cost[ends]
    place = np.interp(cost[0] + knob * (cost[-1] - cost[0]), cost, np.arange(len(ends)))
    if not cost[-1] > cost[0]:
        place = np.full(len(knob), len(ends) - 1.0)
    below = place.astype(int)
    above, share = np.minimum(below + 1, len(ends) - 1), place - below
    weights = np.zeros((len(knob), len(outcomes.candidates)))
    np.add.at(weights, (np.arange(len(knob)), ends[below]), 1 - share)
    np.add.at(weights, (np.arange(len(knob)), ends[above]), share)
    swept = {
        part: Swept(weights @ outcomes.correct[rows].T, weights @ outcomes.cost_usd[rows].T)
        for part, rows in (("calibrate", split.calibrate), ("test", split.test))
    }
    return _trial(sample, split, knob, swept, freeze(swept["calibrate"], sample, split))


def worths(sample: Sample) -> Floats:
    """Knob settings: what a right answer is worth, in US dollars.

    From a thousandth to ten thousand times the best candidate's cost; a single one where there are no costs.
    """
    reference = float(sample.singles.cost[sample.singles.best])
    if not sample.priced:
        return np.ones(1)
    return np.geomspace(1e-3, 1e4, 85) * (reference or float(sample.singles.cost.max()))


def freeze(swept: Swept, sample: Sample, split: Split, among: Index | None = None) -> int | None:
    """The cheapest setting that is within the tolerance of the best candidate on the calibration split.

    Parameters
    ----------
    swept : Swept
        Results on the calibration split.
    sample, split : Sample, Split
        Where the best candidate's results are.
    among : ndarray of int, optional
        Positions in the calibration split to look at; all by default.
    """
    seen = np.arange(len(split.calibrate)) if among is None else among
    target = sample.outcomes.correct[split.calibrate[seen], split.best].mean() - split.tolerance
    cost, accuracy = swept.cost[:, seen].mean(axis=1), swept.correct[:, seen].mean(axis=1)
    reached = np.flatnonzero(accuracy >= target - 1e-12)
    if not reached.size:
        return None
    return int(reached[np.lexsort((-accuracy[reached], cost[reached]))[0]])


def _choices(sample: Sample, split: Split, success: Floats, knob: Floats) -> Ints:
    names = sample.outcomes.candidates
    table = CandidateTable(success, np.broadcast_to(split.expected_cost, success.shape), names)
    return Utility.sweep(table, knob)


def _swept(sample: Sample, rows: Index, choices: Ints, charge: Floats) -> Swept:
    cells = rows[None, :], choices
    return Swept(sample.outcomes.correct[cells], sample.outcomes.cost_usd[cells] + charge[rows])


def _trial(
    sample: Sample,
    split: Split,
    knob: Floats,
    swept: Mapping[str, Swept],
    frozen: int | None,
    success: Floats | None = None,
    choice: Ints | None = None,
) -> Trial:
    accuracy = swept["calibrate"].correct.mean(axis=1)
    cost = swept["calibrate"].cost.mean(axis=1)
    most = int(np.lexsort((cost, -accuracy))[0])
    test = split.test
    singles = Singles(sample.outcomes.cost_usd[test].mean(axis=0), sample.outcomes.correct[test].mean(axis=0))
    return Trial(test, knob, swept["calibrate"], swept["test"], frozen, most, singles, success, choice)
