"""A pool's budget for the day, across requests and restarts.

The day is UTC's. What was spent before a restart, and what other gateways of the same ledger spend, is read
from it; each moves its own price of a right answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from router.decisions.decision import Decision
from router.policies import Pace, Paced, Pacing
from serving.flow.record import Exchange
from serving.http.protocol import Query
from serving.keys.budget import begin_of


class Daily:
    """Where the day's budget stands; an `Observer`.

    Parameters
    ----------
    pacing
        The pool's rule `budget`.
    now_s
        Unix time.
    """

    def __init__(self, pacing: Pacing, now_s: Callable[[], float]) -> None:
        self.pacing = pacing
        self._now_s = now_s
        self.pace: Pace = pacing.begin(begin_of("day", now_s()))

    def policy(self) -> Paced:
        """How to decide now."""
        self.pace = self.pacing.rolled(self.pace, self._now_s())
        return Paced(self.pacing, self.pace)

    def reconcile(self, before: Pace, spent_usd: float, queries: int) -> None:
        """Take over what a ledger knows of this day; what was dropped on its way there is not forgotten.

        Parameters
        ----------
        before
            The pace when the ledger was asked; what came since is not in it.
        spent_usd, queries
            Of all gateways since the day began.
        """
        now = self.pace
        if before.began_s == now.began_s:
            spent_usd = max(now.spent_usd, spent_usd + now.spent_usd - before.spent_usd)
            self.pace = replace(
                now, spent_usd=spent_usd, queries=max(now.queries, queries + now.queries - before.queries)
            )

    def continued(self, pacing: Pacing) -> Daily:
        """The same day under another budget, after the pool file was read again."""
        again = Daily(pacing, self._now_s)
        again.pace = self.pace
        return again

    def decided(self, decision: Decision, seconds: float, query: Query) -> None:
        """Nothing is spent yet."""

    def finished(self, exchange: Exchange) -> None:
        """Count what an answer has cost, the scout's reading included, where this budget has decided."""
        if exchange.decision.policy == Pacing.rule:
            cost_usd = (exchange.cost_usd or 0.0) + exchange.decision.scout_cost_usd
            self.pace = self.pacing.after(self.pace, self._now_s(), cost_usd)
