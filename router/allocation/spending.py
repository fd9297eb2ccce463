"""A job's plan while its money is being spent: what is left is allocated again as real costs arrive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from router.allocation.allocation import (
    ROUNDING,
    Allocation,
    TooHigh,
    TooPoor,
    Worth,
    least_costly,
    most_accurate,
)
from router.allocation.doubt import likeliest, reopened
from router.allocation.multiplier import Floats, Ints
from router.allocation.preview import SPREAD

PRIOR = 20.0
"""Answers' worth of trust in the expected cost, before real ones count for more."""
LAST = 32
"""Lines that are asked together at the end of a job, when no other line can make up for their costs."""


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
        self._first: Ints = np.full(len(own), -1)
        self._gained = 0.0
        self._missed, self._squared = 0.0, 0.0

    @property
    def settled(self) -> bool:
        """Whether real costs change no choice: every line chooses by itself."""
        return isinstance(self._goal, ForPolicy) or bool((self._own >= 0).all())

    @property
    def factors(self) -> Floats:
        """Real over expected cost of each candidate, shrunk towards 1, (K,)."""
        prior = PRIOR * self._expected / np.maximum(self._count, 1)
        return np.where(
            self._count > 0, (self._actual + prior) / np.maximum(self._expected + prior, 1e-300), 1.0
        )

    @property
    def spread(self) -> float:
        """Standard deviation of an answer's cost over its expectation, shrunk towards `SPREAD`."""
        answers = float(self._count.sum())
        prior = PRIOR * self._squared / max(answers, 1.0)
        if not prior:
            return SPREAD
        return float(((self._missed + SPREAD**2 * prior) / (self._squared + prior)) ** 0.5)

    def paid(self, rows: Ints, index: Ints, cost_usd: Floats) -> None:
        """Tell real costs: of these lines, answered by these candidates."""
        self.spent_usd += float(cost_usd.sum())
        expected = self._worth.cost_usd[index, rows] * self.factors[index]
        self._missed += float(((cost_usd - expected) ** 2).sum())
        self._squared += float((expected**2).sum())
        np.add.at(self._expected, index, self._worth.cost_usd[index, rows])
        np.add.at(self._actual, index, cost_usd)
        np.add.at(self._count, index, 1)
        self._gained += float(self._worth.success[index, rows].sum())
        again = rows[self._first[rows] >= 0]
        self._gained -= float(self._worth.success[self._first[again], again].sum())
        self._first[again] = -1

    def doubt(self, rows: Ints, index: Ints) -> None:
        """Tell that answers, paid already, of these lines by these candidates look wrong."""
        self._first[rows] = index

    @property
    def doubted(self) -> Ints:
        """Lines whose answer looks wrong and that have no other yet."""
        return np.flatnonzero(self._first >= 0)

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
        both = np.concatenate([rows, self.doubted])
        return self._planned(both, flying, flying_index)[: len(rows)]

    def plan_again(self, rows: Ints, flying: Ints, flying_index: Ints) -> Ints:
        """The likelier candidate that each of these doubted lines is asked once more of; −1: none.

        A budget decides together who is, and of whom; otherwise each is asked of its likeliest.

        Parameters
        ----------
        rows
            Of `doubted`; all other lines are finished.
        flying, flying_index
            As of `plan`.
        """
        index = self._planned(rows, flying, flying_index)
        return np.where(index == self._first[rows], -1, index)

    def _planned(self, rows: Ints, flying: Ints, flying_index: Ints) -> Ints:
        worth = self._worth.priced(self.factors)
        offered, doubted = reopened(worth.take(rows), self._first[rows]), self._first[rows] >= 0
        index = np.where(doubted, -1, self._own[rows])
        own = index >= 0
        if not isinstance(self._goal, ForBudget):
            index[doubted] = likeliest(offered.take(doubted))
        free = index < 0
        outlay = self.spent_usd + float(worth.cost_usd[flying_index, flying].sum())
        outlay += float(worth.cost_usd[index[own], rows[own]].sum())
        gained = self._gained + float(worth.success[flying_index, flying].sum())
        gained += float(worth.success[index[own], rows[own]].sum())
        begun = len(flying) > 0 or bool(self._count.any())
        if not free.any():
            if not begun:
                self._check_reached(outlay, gained)
            return index
        if begun and not doubted.all():  # nobody has to be asked again: no money is held back for that
            outlay += self._reserve(worth.cost_usd[flying_index, flying], len(rows), outlay)
        index[free] = self._allocate(offered.take(free), outlay, gained, begun).index
        return index

    def _check_reached(self, outlay: float, gained: float) -> None:
        """A job whose lines all choose by themselves may still miss its goal."""
        match self._goal:
            case ForBudget(budget_usd) if outlay > budget_usd * (1 + ROUNDING):
                raise TooPoor(outlay, budget_usd)
            case ForAccuracy(floor) if gained < (floor - ROUNDING) * len(self._own):
                raise TooHigh(gained / len(self._own), floor)

    def _reserve(self, flying_usd: Floats, open_lines: int, outlay_usd: float) -> float:
        """Money held back for what is in flight and for the last lines, two standard deviations; given back
        as costs are told."""
        if not isinstance(self._goal, ForBudget):
            return 0.0
        mean_usd = max(0.0, self._goal.budget_usd - outlay_usd) / open_lines
        squares = float((flying_usd**2).sum()) + min(LAST, open_lines) * mean_usd**2
        return float(2.0 * self.spread * squares**0.5)

    def _allocate(self, worth: Worth, outlay: float, gained: float, begun: bool) -> Allocation:
        n, lines = worth.success.shape[1], self._worth.success.shape[1]
        try:
            match self._goal:
                case ForBudget(budget_usd):
                    return most_accurate(worth, budget_usd - outlay)
                case ForAccuracy(min_accuracy):
                    return least_costly(worth, max(0.0, (min_accuracy * lines - gained) / n))
                case _:  # lines that no policy could decide: they were not read
                    return worth.allocation(likeliest(worth))
        except TooPoor as error:
            if begun:
                return worth.allocation(worth.cheapest())
            raise TooPoor(error.least_usd + outlay, budget_usd) from error  # in the terms of the whole job
        except TooHigh as error:
            if begun:
                return worth.allocation(likeliest(worth))
            raise TooHigh((error.reach * n + gained) / lines, min_accuracy) from error

    def left_usd(self) -> float:
        """Money not spent; infinite where nobody set a budget."""
        return self._goal.budget_usd - self.spent_usd if isinstance(self._goal, ForBudget) else float("inf")


def worst_usd(prices: Floats, input_tokens: Floats, output_limit: Floats) -> Floats:
    """The most that each answer can cost, (n, K): prices (K, 2), prompt (n,), longest answer (n, K)."""
    worst: Floats = (input_tokens[:, None] * prices[:, 0] + output_limit * prices[:, 1]) / 1e6
    return worst
