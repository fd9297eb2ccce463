"""Most right answers for a sum of money."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from probes.errors import UsageError
from router.allocation.multiplier import filled, multiplier_of
from router.policies.table import CandidateTable, Choice


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
        multiplier = multiplier_of(success, cost, self.budget_usd)
        index, lifted = filled(success, cost, multiplier, self.budget_usd)
        tier = (index[:, None] != np.arange(len(cost))).astype(np.float64) if lifted.any() else None
        value = table.success - multiplier * table.cost_usd

        def explain(i: int) -> str:
            k = choice.index[i]
            return (
                f"most success for ${self.budget_usd:.4g} in all: {table.success[i, k]:.2f}"
                f" for ${table.cost_usd[i, k]:.3g}, at {multiplier:.3g} answers a dollar"
            )

        choice = Choice(table, value, explain, tier=tier)
        return choice
