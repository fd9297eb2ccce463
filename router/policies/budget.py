"""Most right answers for a sum of money."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from probes.errors import UsageError
from router.policies.table import CandidateTable, Choice, Floats, Ints

SAMPLE = 20_000
"""Queries on which the multiplier is bracketed before all are looked at."""
PRECISION = 1e-9


@dataclass(frozen=True)
class Budget:
    """The highest sum of success probabilities whose expected cost stays within a budget.

    One multiplier μ, the price of a dollar in right answers, decides every query by ``success − μ · cost``;
    it is found by bisection, and queries that are tied there are lifted as far as the money goes. The result
    is the optimum of the linear program but for one query (Dantzig's bound, multiple-choice knapsack).

    Attributes
    ----------
    budget_usd : float
        Expected cost of all queries of a table together, in US dollars.
    """

    budget_usd: float

    rule: ClassVar[str] = "budget"
    knob: ClassVar[str | None] = "budget_usd"

    def choose(self, table: CandidateTable) -> Choice:
        """Choose for every query of the table.

        Raises
        ------
        UsageError
            Even the cheapest candidates cost more.
        """
        success = np.where(table.eligible, table.success, -np.inf).T.copy()
        cost = np.where(table.eligible, table.cost_usd, np.inf).T.copy()
        least = float(cost.min(axis=0).sum())
        if least > self.budget_usd:
            raise UsageError(
                f"The cheapest candidates cost ${least:.4g} together; the budget is ${self.budget_usd:.4g}.",
                param="budget_usd",
                hint="Raise the budget or shorten the job.",
            )
        np.copyto(cost, 0.0, where=np.isinf(cost))
        multiplier = _multiplier(success, cost, self.budget_usd)
        tier = _filled(success, cost, multiplier, self.budget_usd)
        value = table.success - multiplier * table.cost_usd

        def explain(i: int) -> str:
            k = choice.index[i]
            return (
                f"most success for ${self.budget_usd:.4g} in all: {table.success[i, k]:.2f}"
                f" for ${table.cost_usd[i, k]:.3g}, at {multiplier:.3g} answers a dollar"
            )

        choice = Choice(table, value, explain, tier=tier)
        return choice


def _multiplier(success: Floats, cost: Floats, budget: float) -> float:
    """The least μ, to nine digits, whose choices stay within the budget; arrays are (K, n).

    Dearer money never makes a query's choice dearer, so that a query whose choice is the same at both ends of
    the bracket is settled and leaves the search.
    """
    if _best(success, cost, 0.0)[1].sum() <= budget:
        return 0.0
    low, high = _bracket(success, cost, budget)
    while high - low > PRECISION * high:
        index, paid = _best(success, cost, high)
        open_ = index != _best(success, cost, low)[0]
        budget -= float(paid[~open_].sum())
        success, cost = success[:, open_], cost[:, open_]
        for _ in range(4):
            middle = 0.5 * (low + high)
            if _best(success, cost, middle)[1].sum() <= budget:
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
        guess = _multiplier(success[:, rows], cost[:, rows], budget * SAMPLE / n)
        low, high = 0.97 * guess, 1.03 * guess
    while _best(success, cost, high)[1].sum() > budget:
        low, high = high, 2 * high
    while low > 0 and _best(success, cost, low)[1].sum() <= budget:
        low, high = low / 2, low
    return low, high


def _best(success: Floats, cost: Floats, multiplier: float) -> tuple[Ints, Floats]:
    """Choice and its cost for each query; equal worth goes to the cheaper candidate."""
    worth = success[0] - multiplier * cost[0]
    index, paid = np.zeros(len(worth), dtype=np.intp), cost[0]
    for k in range(1, len(success)):
        other = success[k] - multiplier * cost[k]
        better = (other > worth) | ((other == worth) & (cost[k] < paid))
        worth = np.where(better, other, worth)
        paid = np.where(better, cost[k], paid)
        index[better] = k
    return index, paid


def _filled(success: Floats, cost: Floats, multiplier: float, budget: float) -> Floats | None:
    """Tiers that lift queries tied at the multiplier to their dearer choice as far as the money goes."""
    index, paid = _best(success, cost, multiplier)
    dearer, price = _best(success, cost, multiplier * (1 - 4 * PRECISION))
    extra = price - paid
    tied = np.flatnonzero(extra > 0)
    order = tied[np.argsort(extra[tied], kind="stable")]
    lifted = order[np.cumsum(extra[order]) <= budget - paid.sum()]
    index[lifted] = dearer[lifted]
    return None if not len(lifted) else (index[:, None] != np.arange(len(cost))).astype(np.float64)
