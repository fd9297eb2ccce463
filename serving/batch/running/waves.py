"""A job's lines in waves that shrink towards the end.

While a wave is in flight the next one is planned, from the real costs of all waves before it: what a line
is answered by depends on answers and not on their timing, so that a job that was stopped goes on as if it
had not been. Lines whose first answer is in doubt come once more when all the others are answered; until
then the plan counts them among the open ones.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from router.allocation.multiplier import Ints
from router.allocation.spending import LAST, Spending
from router.configuration.pool import Pool
from serving.batch.job import Finished, Job
from serving.batch.reading.survey import Survey
from serving.batch.running.answering import Answering
from serving.batch.running.purse import Purse

SHARE = 8
"""A wave is one part in so many of the lines left, at least `LAST`, and at most twice the one before,
so that the first costs are told before much is spent."""
NOBODY: Ints = np.array([], dtype=np.intp)
Flights: TypeAlias = "deque[tuple[_Wave, asyncio.Task[None]]]"


@dataclass(eq=False)
class _Wave:
    rows: Ints
    index: Ints
    sent: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True)
class _Round:
    """One way over lines: who is asked, what was answered before, what becomes of a line without money."""

    rows: Ints
    plan: Callable[[Ints, Ints, Ints], Ints]
    answered: Mapping[int, Finished]
    over: Callable[[int], bool]
    ask: Callable[[int, int], Awaitable[float]]
    unpaid: Callable[[int], None]
    at_once: bool = False


class Waves:
    """All lines of one run of one job.

    Parameters
    ----------
    pool
        The candidates.
    concurrency
        Lines in flight at each backend.
    survey, spending, job
        The lines, their plan and their journal.
    answering
        Asks for one of them.
    tell
        Called after each line.
    """

    def __init__(
        self,
        pool: Pool,
        concurrency: int,
        survey: Survey,
        spending: Spending,
        job: Job,
        answering: Answering,
        tell: Callable[[], None],
    ) -> None:
        self._pool, self._survey, self._spending, self._job = pool, survey, spending, job
        self._answering, self._tell = answering, tell
        self._slots = {name: asyncio.Semaphore(concurrency) for name in pool.backends}
        self.purse = Purse(spending.left_usd(), job.spent_usd)

    async def all(self) -> None:
        """Every line once; then those in doubt once more."""
        await self._round(self._first())
        if len(self._spending.doubted):
            await self._round(self._second())

    def _first(self) -> _Round:
        return _Round(
            np.lexsort((self._survey.numbers, self._survey.groups)),
            self._spending.plan,
            self._job.answered,
            lambda number: number in self._job.answered or number in self._job.refused,
            self._answering.first,
            self._answering.too_late,
            at_once=self._spending.settled,
        )

    def _second(self) -> _Round:
        def kept(_: int) -> None:
            """The first answer stands."""

        return _Round(
            self._spending.doubted,
            self._spending.plan_again,
            self._job.again,
            lambda number: number in self._job.again or number in self._job.standing,
            self._answering.second,
            kept,
        )

    async def _round(self, lines: _Round) -> None:
        """Every wave, two in flight."""
        flights: Flights = deque()
        begin, size = 0, LAST // 2
        async with asyncio.TaskGroup() as group:
            while begin < len(lines.rows):
                if len(flights) == 2:
                    await self._land(lines, *flights.popleft())
                size = max(LAST, min(2 * size, (len(lines.rows) - begin) // SHARE))
                if lines.at_once:
                    size = len(lines.rows)
                wave = await self._planned(lines, begin, size, flights[0][0] if flights else None)
                before = flights[-1][0].sent if flights else None
                flights.append((wave, group.create_task(self._fly(lines, wave, before))))
                begin += size
            while flights:
                await self._land(lines, *flights.popleft())

    async def _planned(self, lines: _Round, begin: int, size: int, flying: _Wave | None) -> _Wave:
        rows, index = (NOBODY, NOBODY) if flying is None else (flying.rows, flying.index)
        planned = (await asyncio.to_thread(lines.plan, lines.rows[begin:], rows, index))[:size]
        wave = lines.rows[begin : begin + size]
        return _Wave(wave[planned >= 0], planned[planned >= 0])

    async def _land(self, lines: _Round, wave: _Wave, task: asyncio.Task[None]) -> None:
        """Wait for a wave and tell its real costs and doubts; lines without an answer cost nothing."""
        await task
        numbers = self._survey.numbers[wave.rows].tolist()
        found = [
            (row, lines.answered[n]) for row, n in zip(wave.rows, numbers, strict=True) if n in lines.answered
        ]
        if not found:
            return
        rows = np.array([row for row, _ in found], dtype=np.intp)
        index = np.array([done.candidate for _, done in found], dtype=np.intp)
        self._spending.paid(rows, index, np.array([done.cost_usd for _, done in found]))
        doubtful = np.array([done.doubtful for _, done in found])
        self._spending.doubt(rows[doubtful], index[doubtful])

    async def _fly(self, lines: _Round, wave: _Wave, before: asyncio.Event | None) -> None:
        if before is not None:
            await before.wait()
        async with asyncio.TaskGroup() as group:
            for i in _interleaved(wave.index, self._survey.groups[wave.rows]):
                row, k = int(wave.rows[i]), int(wave.index[i])
                if lines.over(int(self._survey.numbers[row])):
                    continue
                slot = self._slots[self._pool.candidates[k].backend]
                await slot.acquire()
                if not await self.purse.afford(float(self._survey.worst_usd[row, k])):
                    slot.release()
                    lines.unpaid(row)
                    continue
                group.create_task(self._one(lines, row, k, slot))
            wave.sent.set()

    async def _one(self, lines: _Round, row: int, k: int, slot: asyncio.Semaphore) -> None:
        cost_usd = 0.0
        try:
            cost_usd = await lines.ask(row, k)
        finally:
            slot.release()
            await self.purse.settle(float(self._survey.worst_usd[row, k]), cost_usd)
            self._tell()


def _interleaved(index: Ints, groups: Any) -> Ints:
    """An order in which every candidate's lines are spread evenly, and those of one prefix stand together."""
    place = np.empty(len(index))
    for k in np.unique(index):
        mine = np.flatnonzero(index == k)
        mine = mine[np.argsort(groups[mine], kind="stable")]
        place[mine] = (np.arange(len(mine)) + 0.5) / len(mine)
    return np.lexsort((index, place))
