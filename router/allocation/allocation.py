"""Who answers which line of a job: most right answers for a budget, or least money for a floor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from probes.errors import UsageError
from router.allocation.multiplier import DEAREST, PRECISION, Bools, Floats, Ints, best, filled, multiplier_of

ROUNDING = 1e-9
"""Relative difference of two sums of money that counts as none."""


@dataclass(frozen=True, eq=False)
class Worth:
    """n lines and K candidates, a candidate's numbers next to each other.

    Attributes
    ----------
    success : ndarray of shape (K, n)
        Probability of a right answer; −inf where a candidate cannot answer.
    cost_usd : ndarray of shape (K, n)
        Expected cost in US dollars; 0 where a candidate cannot answer.
    """

    success: Floats
    cost_usd: Floats

    @classmethod
    def of(cls, success: Any, cost_usd: Any, eligible: Any = True) -> Worth:
        """From arrays of shape (n, K).

        Raises
        ------
        UsageError
            A line has no eligible candidate, or a number is not finite.
        """
        able = np.ascontiguousarray(np.broadcast_to(eligible, np.shape(success)).T)
        high, low = np.array(np.transpose(success), np.float64), np.array(np.transpose(cost_usd), np.float64)
        if not able.any(axis=0).all():
            raise UsageError("A line has no eligible candidate.", param="eligible")
        if not (np.isfinite(high) | ~able).all() or not (np.isfinite(low) | ~able).all():
            raise UsageError("success or cost_usd is not finite for an eligible candidate.", param="success")
        high[~able], low[~able] = -np.inf, 0.0
        return cls(high, low)

    @property
    def able(self) -> Bools:
        """Who can answer, (K, n)."""
        return np.asarray(self.success > -np.inf)

    def take(self, rows: Any) -> Worth:
        """Some of the lines."""
        return Worth(self.success[:, rows], self.cost_usd[:, rows])

    def priced(self, factor: Any) -> Worth:
        """With each candidate's cost times its factor, (K,)."""
        return Worth(self.success, self.cost_usd * np.asarray(factor, np.float64)[:, None])

    def cheapest(self) -> Ints:
        """Each line's cheapest candidate, the likelier one of two."""
        return best(np.where(self.able, 0.0, -np.inf), self.cost_usd, DEAREST)[0]

    def allocation(self, index: Ints, multiplier: float = 0.0) -> Allocation:
        """What a choice for every line comes to."""
        lines = np.arange(len(index))
        cost, success = self.cost_usd[index, lines], self.success[index, lines]
        mean = float(success.mean()) if len(index) else 0.0
        return Allocation(index, multiplier, float(cost.sum()), mean)


@dataclass(frozen=True, eq=False)
class Allocation:
    """A candidate for every line.

    Attributes
    ----------
    index : ndarray of shape (n,)
        Positions of the chosen candidates.
    multiplier : float
        Right answers that the last dollar buys; 0 where money does not matter.
    cost_usd : float
        Expected cost of all lines together.
    accuracy : float
        Expected share of right answers.
    """

    index: Ints
    multiplier: float
    cost_usd: float
    accuracy: float


class TooPoor(UsageError):
    """Even the cheapest plan costs more than the budget."""

    def __init__(self, least_usd: float, budget_usd: float) -> None:
        super().__init__(
            f"The cheapest plan is expected to cost ${least_usd:.4g}; the budget is ${budget_usd:.4g}.",
            param="budget_usd",
            hint=f"Give at least ${least_usd * 1.01:.4g}, or shorten the job.",
        )
        self.least_usd = least_usd


class TooHigh(UsageError):
    """Even the likeliest candidates of all lines stay below the floor."""

    def __init__(self, reach: float, min_accuracy: float) -> None:
        super().__init__(
            f"The most that this pool is expected to reach is {reach:.4f}; the floor is {min_accuracy:g}.",
            param="min_accuracy",
            hint=f"Ask for at most {np.floor(reach * 1000) / 1000:g}, or add a stronger candidate.",
        )
        self.reach = reach


def most_accurate(worth: Worth, budget_usd: float) -> Allocation:
    """The highest expected accuracy for a budget; the optimum but for one line.

    Raises
    ------
    TooPoor
        Even the cheapest candidates cost more.
    """
    least = worth.allocation(worth.cheapest())
    if least.cost_usd > budget_usd * (1 + ROUNDING):
        raise TooPoor(least.cost_usd, budget_usd)
    multiplier = multiplier_of(worth.success, worth.cost_usd, budget_usd)
    index, _ = filled(worth.success, worth.cost_usd, multiplier, budget_usd)
    return worth.allocation(index, multiplier)


def least_costly(worth: Worth, min_accuracy: float) -> Allocation:
    """The lowest expected cost at a floor of expected accuracy; the optimum but for one line.

    The dual of `most_accurate`: the same multiplier, found from the side of accuracy.

    Raises
    ------
    TooHigh
        The likeliest candidates of all lines together stay below the floor.
    """
    n = worth.success.shape[1]
    target = min_accuracy * n
    free = worth.allocation(best(worth.success, worth.cost_usd, 0.0)[0])
    if free.accuracy * n < target - ROUNDING * max(1, n):
        raise TooHigh(free.accuracy, min_accuracy)
    low, high = _floor_bracket(worth, target)
    if low == 0.0 and high == 0.0:
        return free
    cheap, _ = best(worth.success, worth.cost_usd, high)
    dear, _ = best(worth.success, worth.cost_usd, low)
    return worth.allocation(_lift(worth, cheap, dear, target), high)


def _floor_bracket(worth: Worth, target: float) -> tuple[float, float]:
    """Two multipliers, to nine digits: the lower one's choices reach the target, the upper one's do not."""
    success, cost = worth.success, worth.cost_usd
    low, high = 0.0, 1.0 / max(float(cost.max(initial=0.0)), 1e-300)
    while _reached(success, cost, high)[1] >= target:
        if high >= DEAREST:
            return high, high
        low, high = high, 2 * high
    while high - low > PRECISION * high:
        cheap, _ = _reached(success, cost, high)
        open_ = cheap != _reached(success, cost, low)[0]
        settled = np.flatnonzero(~open_)
        target -= float(success[cheap[settled], settled].sum())
        success, cost = success[:, open_], cost[:, open_]
        for _ in range(4):
            middle = 0.5 * (low + high)
            if _reached(success, cost, middle)[1] >= target:
                low = middle
            else:
                high = middle
    return low, high


def _reached(success: Floats, cost: Floats, multiplier: float) -> tuple[Ints, float]:
    index, _ = best(success, cost, multiplier)
    return index, float(success[index, np.arange(len(index))].sum())


def _lift(worth: Worth, cheap: Ints, dear: Ints, target: float) -> Ints:
    """The cheap choices, with as few tied lines as need be at their dear ones."""
    lines = np.arange(len(cheap))
    gain = worth.success[dear, lines] - worth.success[cheap, lines]
    missing = target - float(worth.success[cheap, lines].sum())
    tied = np.flatnonzero(gain > 0)
    if missing <= 0 or not len(tied):
        return cheap
    order = tied[np.argsort(-gain[tied], kind="stable")]
    total = np.cumsum(gain[order])
    fits = int(np.searchsorted(total, missing))  # so many are lifted in full, and one more is needed
    lifted = order[:fits]
    rest = missing - (float(total[fits - 1]) if fits else 0.0)
    enough = [row for row in order[fits:] if gain[row] >= rest]
    chosen = cheap.copy()
    chosen[lifted] = dear[lifted]
    if enough:
        chosen[enough[-1]] = dear[enough[-1]]
    return chosen
