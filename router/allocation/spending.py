"""A job's plan while its money is being spent: what is left is allocated again as real costs arrive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from probes.errors import UsageError
from router.allocation.allocation import Allocation, Worth, least_costly, most_accurate
from router.allocation.multiplier import Floats, Ints

PRIOR = 20.0
"""Answers' worth of trust in the expected cost, before real ones count for more."""


@dataclass(frozen=True)
class ForBudget:
    """Most right answers for a sum of money."""

    budget_usd: float


@dataclass(frozen=True)
class ForAccuracy:
    """Least money for a floor of expected accuracy."""

    min_accuracy: float


@dataclass(frozen=True)
class ForPolicy:
    """Every line by itself, as a policy of the pool chooses."""

    policy: str | None = None


Goal: TypeAlias = ForBudget | ForAccuracy | ForPolicy


class Spending:
    """Allocates the lines that are still open for the money, or the accuracy, that is still open.

    A pure function of the answers that it was told: the same answers give the same choices, whenever they
    came and however often the job was stopped.

    Parameters
    ----------
    worth : Worth
        All n lines of the job.
    goal : ForBudget, ForAccuracy or ForPolicy
        What the job is for.
    own : ndarray of int of shape (n,)
        The candidate of lines that choose by themselves; −1 where the job chooses.

    Attributes
    ----------
    spent_usd : float
        Real cost of the answers told so far.
    """

    def __init__(self, worth: Worth, goal: Goal, own: Ints) -> None:
        self.spent_usd = 0.0
        self._worth = worth
        self._goal = goal
        self._own = own
        k = len(worth.cost_usd)
        self._expected, self._actual, self._count = np.zeros(k), np.zeros(k), np.zeros(k)
        self._gained = 0.0

    @property
    def factors(self) -> Floats:
        """Real over expected cost of each candidate, shrunk towards 1, (K,)."""
        prior = PRIOR * self._expected / np.maximum(self._count, 1)
        return np.where(
            self._count > 0, (self._actual + prior) / np.maximum(self._expected + prior, 1e-300), 1.0
        )

    def paid(self, rows: Ints, index: Ints, cost_usd: Floats) -> None:
        """Tell real costs: of these lines, answered by these candidates."""
        self.spent_usd += float(cost_usd.sum())
        np.add.at(self._expected, index, self._worth.cost_usd[index, rows])
        np.add.at(self._actual, index, cost_usd)
        np.add.at(self._count, index, 1)
        self._gained += float(self._worth.success[index, rows].sum())

    def plan(self, rows: Ints, flying: Ints, flying_index: Ints) -> Ints:
        """A candidate for each open line.

        Parameters
        ----------
        rows
            Lines that nobody has been asked for yet.
        flying, flying_index
            Lines that were given to a candidate and whose real cost is not told yet; the expected counts.

        Raises
        ------
        UsageError
            Only before the first answer: the goal cannot be reached.
        """
        worth = self._worth.priced(self.factors)
        index = self._own[rows].copy()
        free = index < 0
        if not free.any():
            return index
        outlay = self.spent_usd + float(worth.cost_usd[flying_index, flying].sum())
        outlay += float(worth.cost_usd[index[~free], rows[~free]].sum())
        gained = self._gained + float(worth.success[flying_index, flying].sum())
        gained += float(worth.success[index[~free], rows[~free]].sum())
        begun = len(flying) > 0 or bool(self._count.any())
        index[free] = self._allocate(worth.take(rows[free]), outlay, gained, begun).index
        return index

    def _allocate(self, worth: Worth, outlay: float, gained: float, begun: bool) -> Allocation:
        n, lines = worth.success.shape[1], self._worth.success.shape[1]
        try:
            match self._goal:
                case ForBudget(budget_usd):
                    return most_accurate(worth, budget_usd - outlay)
                case ForAccuracy(min_accuracy):
                    return least_costly(worth, max(0.0, (min_accuracy * lines - gained) / n))
                case _:
                    raise UsageError("A job by policy chooses every line by itself.", param="own")
        except UsageError:
            if not begun:
                raise
            return worth.allocation(
                worth.cheapest() if isinstance(self._goal, ForBudget) else _likeliest(worth)
            )

    def left_usd(self) -> float:
        """Money not spent; infinite where nobody set a budget."""
        return self._goal.budget_usd - self.spent_usd if isinstance(self._goal, ForBudget) else float("inf")


def _likeliest(worth: Worth) -> Ints:
    return np.asarray(worth.success.argmax(axis=0))


def worst_usd(prices: Floats, input_tokens: Floats, output_limit: Floats) -> Floats:
    """The most that each answer can cost, (n, K): prices (K, 2), prompt (n,), longest answer (n, K)."""
    worst: Floats = (input_tokens[:, None] * prices[:, 0] + output_limit * prices[:, 1]) / 1e6
    return worst
