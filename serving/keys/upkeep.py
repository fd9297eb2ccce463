"""Keeps a guard up to date while the gateway runs: changed keys, and what other gateways have spent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from serving.keys.budget import PERIODS, begin_of
from serving.keys.guard import Guard

logger = logging.getLogger("foresight.keys")


class SpendingSource(Protocol):
    """Knows what was spent: a ledger."""

    async def spent_usd(self, since_s: float) -> Mapping[str, float]:
        """US dollars by key since this Unix time, all that this process has spent included."""
        ...


class Upkeep:
    """A service of the gateway.

    Parameters
    ----------
    guard
        Whose keys and spending.
    source
        The ledger; None: nothing is known of what was spent before.
    """

    def __init__(self, guard: Guard, source: SpendingSource | None) -> None:
        self._guard = guard
        self._source = source
        self._task: asyncio.Task[None] | None = None
        self._failing = False

    async def start(self) -> None:
        """Read what was spent so far, and go on to do so."""
        await self.refresh()
        self._task = asyncio.create_task(self._run(), name="keys")

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def refresh(self) -> None:
        """Look at key file and ledger once; a ledger that is away leaves everything as it is."""
        if await asyncio.to_thread(self._guard.reread):
            logger.warning("the key file was read again: %d keys", len(self._guard.ring.keys))
        if self._source is None or not self._guard.ring.has_budgets:
            return
        try:
            await self._reconcile(self._source)
        except (SQLAlchemyError, OSError) as error:  # asyncio's TimeoutError is an OSError, too
            if not self._failing:
                logger.error("budgets go by what this gateway knows: %s", type(error).__name__)
            self._failing = True
        else:
            self._failing = False

    async def _reconcile(self, source: SpendingSource) -> None:
        for period in PERIODS:
            now_s = self._guard.now_s()
            before = self._guard.spending.snapshot(period, now_s)
            written = await source.spent_usd(begin_of(period, now_s))
            self._guard.spending.reconcile(period, before, written, now_s)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._guard.settings.refresh_s)
            await self.refresh()
