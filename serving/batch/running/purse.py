"""A job's money while it is spent: one answer may go over the budget, and no more."""

from __future__ import annotations

import asyncio


class Purse:
    """Lets an answer be asked for when the money surely suffices, or nobody else is being asked.

    Parameters
    ----------
    budget_usd
        Infinite where nobody set one.
    spent_usd
        In earlier runs.
    """

    def __init__(self, budget_usd: float, spent_usd: float) -> None:
        self.spent_usd = spent_usd
        self._budget = budget_usd
        self._flying = 0.0
        self._in_flight = 0
        self._landed = asyncio.Condition()

    async def afford(self, worst_usd: float) -> bool:
        """Wait for money for an answer that costs this at most; False if there is none left."""
        async with self._landed:
            await self._landed.wait_for(
                lambda: self._in_flight == 0 or self.spent_usd + self._flying + worst_usd <= self._budget
            )
            if self.spent_usd >= self._budget:
                return False
            self._flying += worst_usd
            self._in_flight += 1
            return True

    async def settle(self, worst_usd: float, cost_usd: float) -> None:
        """An answer that could be afforded is there; it has cost this."""
        async with self._landed:
            self.spent_usd += cost_usd
            self._flying -= worst_usd
            self._in_flight -= 1
            self._landed.notify_all()
