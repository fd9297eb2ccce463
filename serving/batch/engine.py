"""The engine `local`: keeps the backends full, the plan current and the money within its budget.

Lines run in waves that shrink towards the end. While a wave is in flight the next one is planned, from the
real costs of all waves before it: what a line is answered by depends on answers and not on their timing, so
that a job that was stopped goes on as if it had not been.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from probes.errors import BackendError
from router.allocation.multiplier import Ints
from router.allocation.spending import LAST, Spending
from router.configuration.pool import Pool
from serving.batch.job import Job, error_row
from serving.batch.lines import Line, opened, parse_line
from serving.batch.survey import Survey
from serving.http.errors import ApiError
from serving.http.protocol import Query

SHARE = 8
"""A wave is one part in so many of the lines left, at least `LAST`, and at most twice the one before,
so that the first costs are told before much is spent."""
FAILURES_IN_A_ROW = 20
FINAL = range(400, 428)
"""Statuses that another try would not change."""


@dataclass(frozen=True)
class Reply:
    """A complete answer: the body, and its tokens."""

    body: dict[str, Any]
    input_tokens: int
    output_tokens: int


class Asker(Protocol):
    """Asks one candidate one query; patient, and `ApiError` when there is no answer."""

    async def ask(self, query: Query, candidate: str) -> Reply:
        """The whole answer."""
        ...


@dataclass(frozen=True)
class Progress:
    """Where a job stands.

    Attributes
    ----------
    done, total
        Lines.
    spent_usd
        Money, of earlier runs as well.
    speed
        Lines a second in this run.
    failed, refused
        Lines with an error so far; those of them that are done for good.
    """

    done: int
    total: int
    spent_usd: float
    speed: float
    failed: int = 0
    refused: int = 0

    @property
    def left_s(self) -> float:
        """Seconds to the end at this speed."""
        return (self.total - self.done) / self.speed if self.speed else float("inf")


@dataclass(eq=False)
class _Wave:
    rows: Ints
    index: Ints
    sent: asyncio.Event = field(default_factory=asyncio.Event)


class LocalEngine:
    """Runs a job's lines in this process.

    Parameters
    ----------
    pool
        The candidates.
    asker
        Reaches them.
    concurrency
        Lines in flight at each backend.
    """

    def __init__(self, pool: Pool, asker: Asker, *, concurrency: int = 64) -> None:
        self._pool = pool
        self._asker = asker
        self._concurrency = concurrency

    async def run(
        self,
        path: Any,
        survey: Survey,
        spending: Spending,
        job: Job,
        told: Callable[[Progress], None] | None = None,
    ) -> list[dict[str, Any]]:
        """Answer every line that has no answer yet.

        Returns
        -------
        list of dict
            Error rows of lines that may be tried again.

        Raises
        ------
        BackendError
            A backend refuses one line after another; what is finished is kept.
        UsageError
            The goal cannot be reached, or the disk is full.
        """
        with opened(path) as handle:
            run = _Run(self._pool, self._asker, self._concurrency, handle, survey, spending, job, told)
            try:
                await run.all()
            except ExceptionGroup as group:
                raise _first(group) from group
        return run.late


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class _Run:
    """One run of one job."""

    def __init__(
        self,
        pool: Pool,
        asker: Asker,
        concurrency: int,
        handle: Any,
        survey: Survey,
        spending: Spending,
        job: Job,
        told: Callable[[Progress], None] | None,
    ) -> None:
        self._pool, self._asker, self._handle = pool, asker, handle
        self._survey, self._spending, self._job, self._told = survey, spending, job, told
        self._slots = {name: asyncio.Semaphore(concurrency) for name in pool.backends}
        self._spent = sum(done.cost_usd for done in job.answered.values())
        self._flying = 0.0
        self._in_flight = 0
        self._landed = asyncio.Condition()
        self._failed: Counter[str] = Counter()
        self._began, self._at_first = time.monotonic(), len(job.done)
        self.late: list[dict[str, Any]] = []

    async def all(self) -> None:
        """Every wave, two in flight."""
        order = np.lexsort((self._survey.numbers, self._survey.groups))
        flights: deque[tuple[_Wave, asyncio.Task[None]]] = deque()
        begin, size = 0, LAST // 2
        async with asyncio.TaskGroup() as group:
            while begin < len(order):
                if len(flights) == 2:
                    await self._land(*flights.popleft())
                size = max(LAST, min(2 * size, (len(order) - begin) // SHARE))
                if self._spending.settled:
                    size = len(order)
                wave = await self._planned(order[begin:], size, flights[0][0] if flights else None)
                before = flights[-1][0].sent if flights else None
                flights.append((wave, group.create_task(self._fly(wave, before))))
                begin += size
            while flights:
                await self._land(*flights.popleft())

    async def _planned(self, rest: Ints, size: int, flying: _Wave | None) -> _Wave:
        nobody = np.array([], dtype=np.intp)
        rows, index = (nobody, nobody) if flying is None else (flying.rows, flying.index)
        planned = await asyncio.to_thread(self._spending.plan, rest, rows, index)
        return _Wave(rest[:size], planned[:size])

    async def _land(self, wave: _Wave, task: asyncio.Task[None]) -> None:
        """Wait for a wave and tell its real costs; lines without an answer cost nothing."""
        await task
        numbers = self._survey.numbers[wave.rows].tolist()
        found = [
            (row, self._job.answered[n])
            for row, n in zip(wave.rows, numbers, strict=True)
            if n in self._job.answered
        ]
        if found:
            rows = np.array([row for row, _ in found], dtype=np.intp)
            index = np.array([done.candidate for _, done in found], dtype=np.intp)
            self._spending.paid(rows, index, np.array([done.cost_usd for _, done in found]))

    async def _fly(self, wave: _Wave, before: asyncio.Event | None) -> None:
        if before is not None:
            await before.wait()
        done = self._job.done
        async with asyncio.TaskGroup() as group:
            for i in _interleaved(wave.index, self._survey.groups[wave.rows]):
                row, k = int(wave.rows[i]), int(wave.index[i])
                if int(self._survey.numbers[row]) in done:
                    continue
                slot = self._slots[self._pool.candidates[k].backend]
                await slot.acquire()
                if not await self._afford(row, k):
                    slot.release()
                    self._too_late(row)
                    continue
                group.create_task(self._one(row, k, slot))
            wave.sent.set()

    async def _afford(self, row: int, k: int) -> bool:
        """Wait until the money surely suffices, or nobody is in flight: one answer may go over, no more."""
        budget = self._spending.spent_usd + self._spending.left_usd()
        worst = float(self._survey.worst_usd[row, k])
        async with self._landed:
            await self._landed.wait_for(
                lambda: self._in_flight == 0 or self._spent + self._flying + worst <= budget
            )
            if self._spent >= budget:
                return False
            self._flying += worst
            self._in_flight += 1
            return True

    async def _one(self, row: int, k: int, slot: asyncio.Semaphore) -> None:
        candidate = self._pool.candidates[k]
        cost_usd = 0.0
        try:
            line = self._line(row)
            try:
                reply = await self._asker.ask(line.query, candidate.name)
            except ApiError as error:
                self._fail(line, k, error)
                return
            price = candidate.price
            cost_usd = (
                reply.input_tokens * price.usd_per_mtok_in + reply.output_tokens * price.usd_per_mtok_out
            ) / 1e6
            self._failed[candidate.backend] = 0
            self._job.answer(line.number, k, cost_usd, self._output(line, row, k, reply, cost_usd))
        finally:
            slot.release()
            async with self._landed:
                self._spent += cost_usd
                self._flying -= float(self._survey.worst_usd[row, k])
                self._in_flight -= 1
                self._landed.notify_all()
            self._tell()

    def _line(self, row: int) -> Line:
        self._handle.seek(int(self._survey.offsets[row]))
        item = parse_line(
            int(self._survey.numbers[row]), int(self._survey.offsets[row]), self._handle.readline()
        )
        if not isinstance(item, Line):
            raise BackendError(f"The input changed while the job ran: {item}.", hint="Put the old file back.")
        return item

    def _fail(self, line: Line, k: int, error: ApiError) -> None:
        candidate = self._pool.candidates[k]
        row = error_row(line.custom_id, line.number, error.code or f"status_{error.status}", error.message)
        if error.status in FINAL and error.status not in (401, 403, 404, 408):
            self._job.refuse(line.number, k, row)
            return
        self.late.append(row)
        self._failed[candidate.backend] += 1
        if self._failed[candidate.backend] >= FAILURES_IN_A_ROW:
            raise BackendError(
                f"{candidate.name} failed {FAILURES_IN_A_ROW} times in a row ({error.message}).",
                param=candidate.name,
                hint="Look after the backend; the same command goes on from what is finished.",
            )

    def _too_late(self, row: int) -> None:
        number = int(self._survey.numbers[row])
        custom_id = self._line(row).custom_id
        self.late.append(
            error_row(custom_id, number, "budget_exhausted", "The budget was spent before this line.")
        )

    def _output(self, line: Line, row: int, k: int, reply: Reply, cost_usd: float) -> dict[str, Any]:
        """A line of the output file; ids come from the line, so that a second run writes the same."""
        worth = self._survey.worth
        name = f"{line.number}-{self._job.terms['input'][:12]}"
        body = {**reply.body, "id": f"chatcmpl-{name}", "created": self._job.created}
        return {
            "id": f"batch_req_{name}",
            "custom_id": line.custom_id,
            "response": {"status_code": 200, "request_id": f"req_{name}", "body": body},
            "error": None,
            "foresight": {
                "candidate": self._pool.names[k],
                "success": round(float(worth.success[k, row]), 6),
                "expected_cost_usd": float(f"{worth.cost_usd[k, row]:.6g}"),
                "cost_usd": cost_usd,
                "chosen_by": "the job" if self._survey.own[row] < 0 else "the line",
            },
        }

    def _tell(self) -> None:
        if self._told is None:
            return
        done = len(self._job.answered) + len(self._job.refused)
        elapsed = max(time.monotonic() - self._began, 1e-9)
        speed = (done - self._at_first) / elapsed
        refused = len(self._job.refused)
        failed = refused + len(self.late)
        self._told(Progress(done, len(self._survey), self._spent, speed, failed, refused))


def _interleaved(index: Ints, groups: Any) -> Ints:
    """An order in which every candidate's lines are spread evenly, and those of one prefix stand together."""
    place = np.empty(len(index))
    for k in np.unique(index):
        mine = np.flatnonzero(index == k)
        mine = mine[np.argsort(groups[mine], kind="stable")]
        place[mine] = (np.arange(len(mine)) + 0.5) / len(mine)
    return np.lexsort((index, place))
