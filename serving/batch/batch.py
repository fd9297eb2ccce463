"""A batch from its file to its output: survey, plan, run, summary."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np

from probes.errors import DataError, UsageError
from router.allocation.allocation import Allocation
from router.allocation.doubt import second_look
from router.allocation.preview import Point, Preview, point_of, preview
from router.allocation.spending import Goal, Spending
from router.policies import Bar
from router.router import Router
from serving.batch.job import Job
from serving.batch.place import Place, terms_of
from serving.batch.reading.lines import Fault
from serving.batch.reading.survey import Survey
from serving.batch.reading.surveyor import Permit, Reader, Surveyor
from serving.batch.reading.tables import as_jsonl
from serving.batch.running.engine import LocalEngine, Progress
from serving.batch.summary import Plan, Summary

SHOWN = 10
"""Faults that a message spells out."""
NOBODY = np.array([], dtype=np.intp)


class FaultyLines(DataError):
    """Lines that cannot be run, where all of them should."""

    def __init__(self, path: Path, faults: tuple[Fault, ...]) -> None:
        shown = "; ".join(str(fault) for fault in faults[:SHOWN])
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        super().__init__(
            f"{path}: {len(faults)} lines cannot be run: {shown}{more}.",
            param="input",
            hint="Mend them, or add --skip-bad to run the others.",
        )
        self.faults = faults


class Batch:
    """One input file and one goal.

    Parameters
    ----------
    path
        JSONL, Parquet or CSV.
    router
        Reads and scores the lines.
    goal
        A budget, a floor, or a policy; None plans only.
    permit
        Narrows what a line may ask for, or raises `ApiError`; None permits all.
    reader
        Reads the lines; None reads them in this process.
    self_check
        The bar that a first answer's own confidence must reach, or the line is asked once more of a likelier
        candidate, as far as the budget allows; None trusts first answers.
    """

    def __init__(
        self,
        path: Path,
        router: Router,
        goal: Goal | None,
        permit: Permit | None = None,
        reader: Reader | None = None,
        self_check: Bar | None = None,
    ) -> None:
        self._path = path
        self._router = router
        self._goal = goal
        self._bar = self_check
        self._reader: Reader = reader or Surveyor(router, goal, permit)

    def plan(self, folder: Path, progress: Callable[[int], None] | None = None) -> Plan:
        """Read every line and preview; a table is copied to `folder` as JSONL first.

        Raises
        ------
        UsageError
            The file cannot be read, or the goal cannot be reached.
        """
        survey = self._reader.survey(as_jsonl(self._path, folder), progress)
        if self._goal is None or not len(survey):
            return Plan(len(survey), survey.faults, self._ways(survey), None)
        chosen = self._chosen(survey)
        again = None if self._bar is None else second_look(survey.worth, chosen.index)
        return Plan(len(survey), survey.faults, self._ways(survey), self._point(survey, chosen), again)

    async def run(
        self,
        output: Path,
        engine: LocalEngine,
        *,
        skip_bad: bool = False,
        progress: Callable[[int], None] | None = None,
        told: Callable[[Progress], None] | None = None,
        ready: Callable[[], Awaitable[None]] | None = None,
    ) -> Summary:
        """Answer the job; the same call after a stop goes on where it was.

        Parameters
        ----------
        output
            The answers' file; the job's own folder is beside it.
        engine
            Asks the candidates.
        skip_bad
            Run the other lines where some cannot be run.
        progress
            Told how many lines were read.
        told
            Told where the job stands, after each line.
        ready
            Starts the backends; awaited once nothing is left that could stop the job.

        Raises
        ------
        UsageError
            Before any money is spent: bad lines (unless `skip_bad`), a goal that cannot be reached, an output
            that cannot be written, a job begun on other terms, or one that somebody else runs.
        BackendError
            A backend fails again and again; what is finished is kept.
        """
        if self._goal is None:
            raise UsageError("A run needs a budget, a floor or a policy.", param="goal")
        place = Place(output)
        _check_output(self._path, place)
        lines = as_jsonl(self._path, place.folder)
        with Job(place, terms_of(lines, self._router, self._goal, self._bar)) as job:
            survey = await asyncio.to_thread(self._surveyed, place, lines, progress)
            _check_faults(self._path, survey, skip_bad)
            expected = self._point(survey, self._chosen(survey))
            spending = Spending(survey.worth, self._goal, survey.own)
            if ready is not None:
                await ready()
            began = time.monotonic(), time.process_time()
            late = await engine.run(lines, survey, spending, job, told, self._bar)
            took = time.monotonic() - began[0], time.process_time() - began[1]
            summary = self._summary(survey, job, expected, len(late), took)
            job.finish(survey.faults, late, summary.to_dict())
        return summary

    def _surveyed(self, place: Place, lines: Path, progress: Callable[[int], None] | None) -> Survey:
        """The numbers of the first run, so that a second one decides alike."""
        if place.survey.exists():
            return Survey.load(place.survey)
        survey = self._reader.survey(lines, progress)
        survey.save(place.survey)
        return survey

    def _chosen(self, survey: Survey) -> Allocation:
        if self._goal is None:
            raise UsageError("There is no goal.", param="goal")
        index = Spending(survey.worth, self._goal, survey.own).plan(np.arange(len(survey)), NOBODY, NOBODY)
        return survey.worth.allocation(index)

    def _point(self, survey: Survey, allocation: Allocation) -> Point:
        return point_of("the plan", survey.worth, allocation, self._router.pool.names, self._calibrated_on())

    def _ways(self, survey: Survey) -> Preview | None:
        if not len(survey):
            return None
        return preview(survey.worth, self._router.pool.names, self._calibrated_on())

    def _calibrated_on(self) -> int | None:
        splits = self._router.record.get("splits") or {}
        found = (splits.get("calibrate") or {}).get("queries")
        return None if found is None else int(found)

    def _summary(
        self, survey: Survey, job: Job, expected: Point, late: int, took: tuple[float, float]
    ) -> Summary:
        names = self._router.pool.names
        row_of = {number: row for row, number in enumerate(survey.numbers.tolist())}
        final, cost_usd = job.final, job.spent_usd
        rows = np.array([row_of[number] for number in final], dtype=np.intp)
        index = np.array([done.candidate for done in final.values()], dtype=np.intp)
        best = preview(survey.worth.take(rows), names, self._calibrated_on()).best if len(rows) else expected
        low, high = best.cost_interval_usd
        return Summary(
            len(rows),
            late + len(job.refused) + len(survey.faults),
            cost_usd,
            expected,
            best,
            dict(zip(names, np.bincount(index, minlength=len(names)).tolist(), strict=True)),
            float(survey.worth.success[index, rows].mean()) if len(rows) else 0.0,
            best.cost_usd - cost_usd,
            (low - cost_usd, high - cost_usd),
            *took,
            doubted=sum(done.doubtful for done in job.answered.values()),
            rechecked=len(job.again),
        )


def _check_output(source: Path, place: Place) -> None:
    output = place.output
    if output.is_dir() or not output.parent.is_dir():
        what = "is a folder" if output.is_dir() else "has no folder to be in"
        raise UsageError(f"{output} {what}.", param="output", hint="Name a file in a folder that exists.")
    for path in (output, place.errors):
        if path.exists() and source.exists() and path.samefile(source):
            raise UsageError(f"{path} is the input itself.", param="output", hint="Name another output.")


def _check_faults(path: Path, survey: Survey, skip_bad: bool) -> None:
    if survey.faults and not skip_bad:
        raise FaultyLines(path, survey.faults)
    if not len(survey):
        raise DataError(f"{path}: no line can be run.", param="input", hint="See `foresight batch plan`.")
