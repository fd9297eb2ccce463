"""So many dollars a day: the price of money follows what is spent and what is still to come."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from probes.errors import UsageError
from router.policies.table import CandidateTable, Choice
from router.policies.utility import Utility

DAY_S = 86_400.0


@dataclass(frozen=True)
class Pace:
    """Where a period stands; a value, so that it can be stored, replayed and tested.

    Attributes
    ----------
    began_s : float
        When the period began, in seconds on the caller's clock.
    spent_usd : float
        Paid in it.
    queries : int
        Answered in it.
    usd_per_answer : float
        What one more right answer may cost now: the value of `Utility`.
    """

    began_s: float
    spent_usd: float
    queries: int
    usd_per_answer: float


@dataclass(frozen=True)
class Pacing:
    """Spend a budget evenly over a period's traffic.

    Every query is decided by `Utility` with one value of a right answer, the inverse of the multiplier of
    `Budget`. After each answer the value is multiplied by ``exp(−step · (cost / allowance − 1))``; the
    allowance is what is left per query that is still expected. This is multiplicative dual descent: Balseiro,
    Lu & Mirrokni, "Dual mirror descent for online allocation problems" (ICML 2020). When the money is gone,
    the cheapest candidate answers.

    Attributes
    ----------
    budget_usd : float
        For one period.
    expected_queries : int
        In one period; corrected by the traffic as the period goes on.
    period_s : float
        Its length, in seconds.
    first_usd_per_answer : float
        To begin with, as from `Budget` on past queries.
    step : float
        How fast the value follows.
    """

    budget_usd: float
    expected_queries: int
    period_s: float = DAY_S
    first_usd_per_answer: float = 0.01
    step: float = 0.02

    rule: ClassVar[str] = "budget"
    knob: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        """Refuse numbers that are not above zero."""
        for name in ("budget_usd", "expected_queries", "period_s", "first_usd_per_answer", "step"):
            if not 0 < getattr(self, name) < math.inf:
                raise UsageError(f"{name} must be above 0, not {getattr(self, name)}.", param=name)

    def begin(self, now_s: float) -> Pace:
        """The state at the beginning of the first period."""
        return Pace(now_s, 0.0, 0, self.first_usd_per_answer)

    def policy(self, pace: Pace) -> Utility:
        """Who answers now; a value of 0 is the cheapest candidate."""
        return Utility(pace.usd_per_answer if pace.spent_usd < self.budget_usd else 0.0)

    def choose(self, table: CandidateTable) -> Choice:
        """Choose as at the beginning of a period; `Paced` knows what was spent."""
        return Paced(self, self.begin(0.0)).choose(table)

    def rolled(self, pace: Pace, now_s: float) -> Pace:
        """The state at this moment: in a new period nothing is spent yet, the value stays."""
        periods = math.floor((now_s - pace.began_s) / self.period_s)
        if periods <= 0:
            return pace
        return Pace(pace.began_s + periods * self.period_s, 0.0, 0, pace.usd_per_answer)

    def after(self, pace: Pace, now_s: float, cost_usd: float) -> Pace:
        """The state after an answer; a new period begins with the value that the old one ended with.

        Raises
        ------
        UsageError
            The cost is negative or not finite.
        """
        if not 0.0 <= cost_usd < math.inf:
            raise UsageError(f"cost_usd must be finite and at least 0, not {cost_usd}.", param="cost_usd")
        pace = self.rolled(pace, now_s)
        pace = replace(pace, spent_usd=pace.spent_usd + cost_usd, queries=pace.queries + 1)
        left = max(self.budget_usd - pace.spent_usd, 0.0)
        allowance = left / self._to_come(pace, now_s)
        if allowance <= 0:
            return pace
        moved = -self.step * (min(cost_usd / allowance, 10.0) - 1.0)
        return replace(pace, usd_per_answer=pace.usd_per_answer * math.exp(moved))

    def _to_come(self, pace: Pace, now_s: float) -> float:
        """Queries still expected: the forecast's share of the time left, corrected by the traffic so far."""
        gone = min(max((now_s - pace.began_s) / self.period_s, 0.0), 1.0)
        # The forecast counts as a tenth of a period of traffic, so that the first minutes do not decide.
        rate = (pace.queries + 0.1 * self.expected_queries) / (gone + 0.1)
        return max(rate * (1.0 - gone), 1.0)


@dataclass(frozen=True)
class Paced:
    """A budget at one moment of its period: the policy of one decision.

    Attributes
    ----------
    pacing : Pacing
        The budget.
    pace : Pace
        Where the period stands.
    """

    pacing: Pacing
    pace: Pace

    rule: ClassVar[str] = Pacing.rule
    knob: ClassVar[str | None] = None

    def choose(self, table: CandidateTable) -> Choice:
        """Choose for every query of the table."""
        choice = self.pacing.policy(self.pace).choose(table)
        budget_usd, spent_usd = self.pacing.budget_usd, self.pace.spent_usd
        spent = f"${spent_usd:.3g} of ${budget_usd:.3g} spent"

        def explain(i: int) -> str:
            if spent_usd >= budget_usd:
                return f"{spent}: the cheapest"
            return f"{choice.explain(i)}; {spent}"

        return Choice(table, choice.value, explain)
