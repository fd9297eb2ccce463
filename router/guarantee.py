"""A promise about accuracy: the cheapest setting that stays above a floor, with a stated confidence.

Learn-then-test (Angelopoulos et al., arXiv 2110.01052) with fixed-sequence testing: settings are tried from
the one that never leaves the reference candidate to the one that leaves it most; the first that cannot be
certified ends the search, so that testing many costs no confidence.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binom, norm

from probes.errors import UsageError
from router.knob import DROP, Outcome, Setting
from router.policies import CandidateTable, QualityFloor

N_SLACKS = 100


def certify(
    reference: str,
    table: CandidateTable,
    outcome: Outcome,
    *,
    drop: float = DROP,
    delta: float = 0.1,
    groups: ArrayLike | None = None,
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
        Probability, over calibration splits, that the floor is missed.
    groups : array-like of shape (n,), optional
        Queries that belong together and count as one draw.

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
    for slack_tried in slacks(table, home):
        policy = QualityFloor(reference, float(slack_tried))
        index = policy.choose(table).index
        loss = outcome.correct[:, home] - outcome.correct[rows, index]
        if p_value(loss, drop, groups) > delta:
            break
        certified, slack = policy, float(slack_tried)
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


def p_value(loss: ArrayLike, drop: float, groups: ArrayLike | None = None) -> float:
    """Evidence against "the mean loss is at least `drop`": a one-sided paired test.

    Parameters
    ----------
    loss : array-like of shape (n,)
        Paired differences in [−1, 1], mostly zero.
    drop : float
        The mean that must not be reached.
    groups : array-like of shape (n,), optional
        Clusters; their sums are taken as independent.

    Notes
    -----
    The larger of two. A normal approximation with one win and one loss added, after Agresti & Min
    (Statistics in Medicine 24, 2005), so that a handful of discordant queries cannot look like certainty;
    and the binomial tail, exact where nobody wins, the case that the approximation takes too lightly.
    """
    values = np.asarray(loss, dtype=np.float64)
    size = np.ones(len(values))
    if groups is not None:
        _, member = np.unique(np.asarray(groups), return_inverse=True)
        values = np.asarray(np.bincount(member, values), dtype=np.float64)
        size = np.bincount(member).astype(np.float64)
    total = size.sum() + 2.0
    mean = values.sum() / total
    variance = (((values - mean * size) ** 2).sum() + 2.0) / total**2
    approximate = norm.cdf((mean - drop) / np.sqrt(variance))
    exact = binom.cdf(np.floor(values.sum() / size.mean() + 1e-9), len(values), drop)
    return float(max(approximate, exact))
