"""The one number that decides a whole job: what a dollar must buy.

Of the multiple-choice knapsack (one candidate to a query, one budget) the linear relaxation has one
multiplier μ; every query takes its best ``success − μ · cost``. Queries that are tied there are lifted one by
one, so that the result is the optimum but for one query (Dantzig's bound). Arrays here lie (K, n): a
candidate's numbers are next to each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.intp]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]

SAMPLE = 20_000
"""Queries on which the multiplier is bracketed before all are looked at."""
BLOCK = 1 << 15
"""Queries that are looked at together: what is computed of them stays in the processor's cache."""
PRECISION = 1e-9
DEAREST = 1e30
"""A multiplier at which everybody takes the cheapest, whatever rounding says about the sum."""


def multiplier_of(success: Floats, cost: Floats, budget: float) -> float:
    """The least price of a dollar, to nine digits, whose choices stay within the budget.

    Parameters
    ----------
    success, cost : ndarray of shape (K, n)
        −inf success, and any finite cost, where a candidate cannot answer.
    budget : float
        US dollars; at least what the cheapest choices cost.

    Notes
    -----
    Dearer money never makes a query's choice dearer, so that a query whose choice is the same at both ends of
    the bracket is settled and leaves the search.
    """
    if best(success, cost, 0.0)[1].sum() <= budget:
        return 0.0
    low, high = _bracket(success, cost, budget)
    while high - low > PRECISION * high:
        index, paid = best(success, cost, high)
        open_ = index != best(success, cost, low)[0]
        budget -= float(paid[~open_].sum())
        success, cost = success[:, open_], cost[:, open_]
        for _ in range(4):
            middle = 0.5 * (low + high)
            if best(success, cost, middle)[1].sum() <= budget:
                high = middle
            else:
                low = middle
    return high


def _bracket(success: Floats, cost: Floats, budget: float) -> tuple[float, float]:
    """Two multipliers, the upper of which is affordable; of many queries, a sample is asked first."""
    n = cost.shape[1]
    low, high = 0.0, 1.0 / max(float(cost.max()), 1e-300)
    if n > 2 * SAMPLE:
        rows = np.random.default_rng(0).choice(n, SAMPLE, replace=False)
        part = cost[:, rows]
        least = float(np.where(np.isneginf(success[:, rows]), np.inf, part).min(axis=0).sum())
        guess = multiplier_of(success[:, rows], part, max(budget * SAMPLE / n, 1.001 * least))
        low, high = 0.97 * guess, 1.03 * guess
    while best(success, cost, high)[1].sum() > budget and high < DEAREST:
        low, high = high, 2 * high
    while low > 0 and best(success, cost, low)[1].sum() <= budget:
        low, high = low / 2, low
    return low, high


def best(success: Floats, cost: Floats, multiplier: float) -> tuple[Ints, Floats]:
    """Choice and its cost for each query; equal worth goes to the cheaper candidate."""
    n = success.shape[1]
    index, paid = np.zeros(n, dtype=np.intp), np.empty(n)
    for begin in range(0, n, BLOCK):
        rows = slice(begin, begin + BLOCK)
        _best(success[:, rows], cost[:, rows], multiplier, index[rows], paid[rows])
    return index, paid


def _best(success: Floats, cost: Floats, multiplier: float, index: Ints, paid: Floats) -> None:
    """A block of queries; its choices go into `index` and `paid`."""
    worth = success[0] - multiplier * cost[0]
    paid[:] = cost[0]
    for k in range(1, len(success)):
        other = success[k] - multiplier * cost[k]
        better = (other > worth) | ((other == worth) & (cost[k] < paid))
        np.copyto(worth, other, where=better)
        np.copyto(paid, cost[k], where=better)
        index[better] = k


def filled(success: Floats, cost: Floats, multiplier: float, budget: float) -> tuple[Ints, Bools]:
    """The choices at a multiplier, and which queries tied there were lifted with what money is left."""
    index, paid = best(success, cost, multiplier)
    dearer, price = best(success, cost, multiplier * (1 - 4 * PRECISION))
    extra = price - paid
    tied = np.flatnonzero(extra > 0)
    order = tied[np.argsort(extra[tied], kind="stable")]
    lifted = order[np.cumsum(extra[order]) <= budget - paid.sum()]
    index[lifted] = dearer[lifted]
    raised = np.zeros(len(index), dtype=bool)
    raised[lifted] = True
    return index, raised
