"""Intervals on differences of AUROC, without resampling.

AUROC is a mean of placements: where each success stands among the failures, and each failure among the
successes. A row's influence on it is its placement against the mean, and influences add up over rows,
candidates and seeds, so that two forecasts of the same questions are compared pair by pair and whole groups
of questions stay together. Sources: DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44(3); for groups
Obuchowski 1997, Biometrics 53(2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from eval.metrics.bootstrap import Interval
from eval.tables import Floats

Z95 = 1.959964


class Influence(NamedTuple):
    """An AUROC and how much each row moves it.

    Attributes
    ----------
    auroc : float
        NaN where there is one class only.
    rows : ndarray of shape (n,)
        Sums to 0; the variance of `auroc` is about the sum of squares over independent rows.
    """

    auroc: float
    rows: Floats


def influence(score: Floats, rate: Floats) -> Influence:
    """AUROC of scores [n] for success rates [n] in [0, 1], and each row's influence.

    A rate counts as a success with its weight and as a failure with the rest, as in `probes.metrics.auroc`.
    """
    values, index = np.unique(score, return_inverse=True)
    won = np.bincount(index, rate, len(values))
    lost = np.bincount(index, 1 - rate, len(values))
    wins, losses = float(won.sum()), float(lost.sum())
    if not wins * losses > 0:
        return Influence(float("nan"), np.zeros(len(score)))
    above_failures = (np.cumsum(lost) - lost / 2)[index] / losses
    below_successes = (wins - np.cumsum(won) + won / 2)[index] / wins
    auroc = float(rate @ above_failures / wins)
    rows = rate * (above_failures - auroc) / wins + (1 - rate) * (below_successes - auroc) / losses
    return Influence(auroc, rows)


def mean_influence(score: Floats, rate: Floats, strata: np.ndarray[Any, Any] | None = None) -> Influence:
    """Mean AUROC of K candidates and each query's influence on it.

    Parameters
    ----------
    score, rate : ndarray of shape (n, K)
        Forecasts and outcomes.
    strata : ndarray of shape (n,), optional
        Take AUROC within each stratum and average, each counted once; those of one class are left out.
    """
    labels = np.zeros(len(score)) if strata is None else strata
    places = [np.flatnonzero(labels == name) for name in np.unique(labels)]
    total: list[float] = []
    rows = np.zeros(len(score))
    for k in range(score.shape[1]):
        found = [(at, influence(score[at, k], rate[at, k])) for at in places]
        known = [(at, one) for at, one in found if not np.isnan(one.auroc)]
        for at, one in known:
            rows[at] += one.rows / len(known)
        total.append(float(np.mean([one.auroc for _, one in known])) if known else float("nan"))
    return Influence(float(np.nanmean(total)), rows / score.shape[1])


def difference(
    ours: Sequence[Influence], theirs: Sequence[Influence], groups: Sequence[np.ndarray[Any, Any]]
) -> tuple[float, Interval]:
    """Mean difference of AUROCs over seeds and its paired 95% interval.

    Parameters
    ----------
    ours, theirs : sequence of Influence
        One a seed, on the same rows.
    groups : sequence of ndarray
        Group of each row, one array a seed; a group that is tested in several seeds counts as one.
    """
    mean = float(np.mean([a.auroc - b.auroc for a, b in zip(ours, theirs, strict=True)]))
    moved = np.concatenate([(a.rows - b.rows) / len(ours) for a, b in zip(ours, theirs, strict=True)])
    _, index = np.unique(np.concatenate(groups), return_inverse=True)
    half = Z95 * float(np.sqrt(np.square(np.bincount(index, moved)).sum()))
    return mean, Interval(mean - half, mean + half)
