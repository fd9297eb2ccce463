"""A promise about accuracy: the cheapest setting that stays above a floor, with a stated confidence.

Learn-then-test (Angelopoulos et al., arXiv 2110.01052) with fixed-sequence testing: settings are tried from
the one that never leaves the reference candidate to the one that leaves it most; the first that cannot be
certified ends the search, so that testing many costs no confidence.

What is promised is what an operator can check: that accuracy stays above the floor on the *next* queries, as
many as the calibration split has. A bound on the mean of all queries ever to come (``ahead=None``) is weaker:
a test split of the same size misses it more often than its confidence says (measured by `foresight bench
policies`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binom, hypergeom, norm

from probes.errors import UsageError
from router.fit.knob import DROP, Outcome, Setting
from router.policies import CandidateTable, QualityFloor

N_SLACKS = 100
SAME: int = -1
"""As many queries ahead as there are in the calibration split."""


def certify(
    reference: str,
    table: CandidateTable,
    outcome: Outcome,
    *,
    drop: float = DROP,
    delta: float = 0.1,
    groups: ArrayLike | None = None,
    ahead: int | None = SAME,
) -> Setting:
    """The `QualityFloor` of most slack whose accuracy is certified.

    Parameters
    ----------
    reference : str
        The candidate that sets the floor, named before the calibration split was looked at.
    table : CandidateTable
        Predictions for the calibration split.
    outcome : Outcome
        What happened there.
    drop : float
        How far accuracy may lie below the reference's.
    delta : float
        Probability, over calibration splits and the queries ahead, that the floor is missed.
    groups : array-like of shape (n,), optional
        Queries that belong together and count as one draw.
    ahead : int or None
        Queries ahead on which accuracy must not fall below the floor; by default as many as there are here;
        None: the mean of all that may ever come.

    Returns
    -------
    Setting
        Its target is the floor on the calibration split; a knob of −1 means that nothing but the reference
        itself could be certified.
    """
    if not 0 < delta < 1:
        raise UsageError(f"delta must lie between 0 and 1, not {delta}.", param="delta")
    home = table.names.index(reference)
    rows = np.arange(len(table))
    floor = float(outcome.correct[:, home].mean()) - drop
    certified, slack = QualityFloor(reference), -1.0
    tried = slacks(table, home)
    for slack_tried, index in zip(tried, certified.sweep(table, tried), strict=True):
        loss = outcome.correct[:, home] - outcome.correct[rows, index]
        if p_value(loss, drop, groups, ahead=len(table) if ahead == SAME else ahead) > delta:
            break
        certified, slack = QualityFloor(reference, float(slack_tried)), float(slack_tried)
    accuracy, cost_usd = outcome.judge(certified.choose(table).index)
    return Setting(certified, slack, accuracy, cost_usd, floor)


def slacks(table: CandidateTable, home: int, n: int = N_SLACKS) -> np.ndarray[Any, Any]:
    """Ascending slacks at which, one after the other, about equally many queries leave the reference."""
    level = table.success[:, [home]]
    cheaper = table.eligible & (table.cost_usd < table.cost_usd[:, [home]])
    gaps = (level - table.success)[cheaper]
    if not len(gaps):
        return np.empty(0)
    return np.unique(np.quantile(gaps, np.linspace(0.0, 1.0, n)))


def p_value(
    loss: ArrayLike, drop: float, groups: ArrayLike | None = None, *, ahead: int | None = None
) -> float:
    """Evidence against "the mean loss is at least `drop`": a one-sided paired test.

    Parameters
    ----------
    loss : array-like of shape (n,)
        Paired differences in [−1, 1], mostly zero.
    drop : float
        The mean that must not be reached.
    groups : array-like of shape (n,), optional
        Clusters; their sums are taken as independent.
    ahead : int, optional
        The mean is that of so many further queries; by default that of the whole population.

    Notes
    -----
    The larger of two. A normal approximation with one win and one loss added, after Agresti & Min
    (Statistics in Medicine 24, 2005), so that a handful of discordant queries cannot look like certainty;
    for queries ahead its variance is that of a prediction, ``1/n + 1/ahead`` in place of ``1/n``. And the
    tail that is exact where nobody wins, the case that the approximation takes too lightly: binomial; for
    queries ahead hypergeometric, since all splits of the losses into seen and coming ones are equally likely.
    """
    values = np.asarray(loss, dtype=np.float64)
    size = np.ones(len(values))
    further = np.inf if ahead is None else max(float(ahead), 1.0)
    ratio = len(values) / further
    if groups is not None:
        _, member = np.unique(np.asarray(groups), return_inverse=True)
        values = np.asarray(np.bincount(member, values), dtype=np.float64)
        size = np.bincount(member).astype(np.float64)
    total = size.sum() + 2.0
    mean = values.sum() / total
    variance = (((values - mean * size) ** 2).sum() + 2.0) / total**2 * (1.0 + ratio)
    approximate = norm.cdf((mean - drop) / np.sqrt(variance))
    losses = np.floor(values.sum() / size.mean() + 1e-9)
    return float(max(approximate, _no_wins(losses, len(values), drop, ratio)))


def _no_wins(losses: float, n: int, drop: float, ratio: float) -> float:
    """Chance of so few losses among n although the mean, or that of n / ratio to come, is above `drop`."""
    if losses < 0:
        return 0.0
    if ratio == 0:
        return float(binom.cdf(losses, n, drop))
    further = max(1, round(n / ratio))
    too_many = np.floor(drop * further + 1e-9) + 1
    if losses + too_many > n + further:
        return 0.0
    return float(hypergeom.cdf(losses, n + further, losses + too_many, n))
