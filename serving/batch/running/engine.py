"""The engine `local`: keeps the backends full, the plan current and the money within its budget."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.allocation.spending import Spending
from router.configuration.pool import Pool
from router.policies import Bar
from serving.batch.files import opened
from serving.batch.job import Job
from serving.batch.reading.survey import Survey
from serving.batch.running.answering import Answering
from serving.batch.running.reply import Asker
from serving.batch.running.waves import Waves


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
        Answers a second in this run.
    failed, refused
        Lines with an error so far; those of them that are done for good.
    rechecked
        Lines that were answered twice.
    """

    done: int
    total: int
    spent_usd: float
    speed: float
    failed: int = 0
    refused: int = 0
    rechecked: int = 0

    @property
    def left_s(self) -> float:
        """Seconds until every line is answered once, at this speed."""
        return (self.total - self.done) / self.speed if self.speed else float("inf")


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
        path: Path,
        survey: Survey,
        spending: Spending,
        job: Job,
        told: Callable[[Progress], None] | None = None,
        bar: Bar | None = None,
    ) -> list[dict[str, Any]]:
        """Answer every line that has no answer yet; with a bar, those in doubt once more.

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
            answering = Answering(self._pool, self._asker, handle, survey, job, bar)
            clock = _Clock(len(survey), job, answering, told)
            waves = Waves(self._pool, self._concurrency, survey, spending, job, answering, clock.tell)
            try:
                await waves.all()
            except ExceptionGroup as group:
                raise _first(group) from group
        return answering.late


class _Clock:
    """Tells how far a run is."""

    def __init__(
        self, total: int, job: Job, answering: Answering, told: Callable[[Progress], None] | None
    ) -> None:
        self._total, self._job, self._answering, self._told = total, job, answering, told
        self._began, self._at_first = time.monotonic(), self._answers

    @property
    def _answers(self) -> int:
        return len(self._job.answered) + len(self._job.refused) + len(self._job.again)

    def tell(self) -> None:
        if self._told is None:
            return
        job = self._job
        elapsed = max(time.monotonic() - self._began, 1e-9)
        refused = len(job.refused)
        self._told(
            Progress(
                len(job.answered) + refused,
                self._total,
                job.spent_usd,
                (self._answers - self._at_first) / elapsed,
                refused + len(self._answering.late),
                refused,
                len(job.again),
            )
        )


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
