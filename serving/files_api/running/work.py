"""One batch at work: from its lines to its output file, or as far as it may come."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shutil
import threading
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any

from probes.errors import BackendError, ForesightError
from serving.batch.batch import Batch, FaultyLines
from serving.batch.job import ChangedTerms, Job
from serving.batch.place import Place
from serving.batch.running.engine import LocalEngine, Progress
from serving.files_api.batches import BatchStore, Record
from serving.files_api.files import FileStore
from serving.files_api.running.asker import GatewayAsker
from serving.flow.gateway import Gateway
from serving.http.errors import ApiError
from serving.http.protocol import Query
from serving.settings import FileSettings

logger = logging.getLogger("foresight.batches")

SHOWN_FAULTS = 100
"""Lines that a failed batch names."""
KEPT_S = 1.0
"""How often the counts are written down."""


class _Ended(Exception):
    """The batch is over before all lines are answered."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


class Work:
    """Runs a batch on the event loop of its own thread; a second one of the same batch goes on.

    Parameters
    ----------
    record
        Not over.
    gateway, loop
        Who answers, and where.
    files, batches
        Where everything is kept.
    settings
        How much at once.
    """

    def __init__(
        self,
        record: Record,
        gateway: Gateway,
        loop: asyncio.AbstractEventLoop,
        files: FileStore,
        batches: BatchStore,
        settings: FileSettings,
    ) -> None:
        self._record = record
        self._gateway, self._loop = gateway, loop
        self._files, self._batches, self._settings = files, batches, settings
        self._progress: Progress | None = None
        self._stopped = threading.Event()

    async def run(self) -> None:
        """To the end, or until this task is cancelled.

        Raises
        ------
        BackendError
            The backends cannot answer now; what is finished is kept.
        """
        try:
            self._check_key()
            summary = await self._watched(self._answer())
            self._finish("completed", summary)
        except _Ended as ended:
            self._finish(ended.status)
        except FaultyLines as error:
            self._fail([_fault(f.code, f.message, f.number) for f in error.faults[:SHOWN_FAULTS]])
        except BackendError:
            raise
        except ChangedTerms as error:
            self._fail([_fault("pool_changed", str(error.message))])
        except ApiError as error:
            self._fail([_fault(error.code or "invalid_request", error.message)])
        except ForesightError as error:
            if error.param == "output":  # no room now, or another process has it: not the job's fault
                raise BackendError(error.message) from error
            told = f"{error.message} {error.hint or ''}".strip()
            shown = told.replace(str(self._batches.lines(self._record)), "The file")
            self._fail([_fault(error.param or "invalid_request", shown)])
        finally:
            self._stopped.set()

    async def _answer(self) -> dict[str, Any]:
        record = self._record
        order = record.order
        asker = GatewayAsker(self._gateway, self._loop, record.owner)
        router = self._gateway.router
        engine = LocalEngine(router.pool, asker, concurrency=self._settings.concurrency)
        batch = Batch(self._batches.lines(record), router, order.goal, self._permit, self_check=order.bar)
        output = self._batches.output(record)
        summary = await batch.run(
            output,
            engine,
            skip_bad=order.skip_bad,
            progress=self._reading,
            told=self._told,
            ready=self._ready,
        )
        return summary.to_dict()

    async def _watched(self, work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
        """The work's result, unless its owner or its time ends it."""
        task = asyncio.create_task(work)
        kept_at = time.monotonic()
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=self._settings.poll_s)
                if not task.done():
                    self._check_end()
                if time.monotonic() - kept_at >= KEPT_S:
                    kept_at = time.monotonic()
                    self._keep_counts()
            return task.result()
        finally:
            self._stopped.set()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _check_end(self) -> None:
        if self._batches.cancelled(self._record):
            raise _Ended("cancelled")
        if time.time() >= self._record.moments["expires_at"]:
            raise _Ended("expired")

    def _check_key(self) -> None:
        guard, owner = self._gateway.guard, self._record.owner
        if guard is not None and owner is not None and guard.ring.get(owner) is None:
            raise ApiError(401, "The key that made this batch is not valid any more.", code="invalid_api_key")
        self._check_end()

    def _permit(self, query: Query) -> Query:
        """A line as its key and its batch allow it."""
        path = f"/v1/{query.endpoint}"
        if path != self._record.order.endpoint:
            message = f"url is {path}, but the batch is for {self._record.order.endpoint}"
            raise ApiError(400, message, param="url", code="mismatched_endpoint")
        guard, owner = self._gateway.guard, self._record.owner
        key = None if guard is None or owner is None else guard.ring.get(owner)
        if guard is None or key is None:
            return query
        return guard.restrict(query, key, self._gateway.pool.names)

    def _reading(self, _: int) -> None:
        """Called in a thread between blocks of lines: a batch that is over is read no further."""
        if self._stopped.is_set():
            raise BackendError("The batch was stopped.")

    def _told(self, progress: Progress) -> None:
        self._progress = progress

    async def _ready(self) -> None:
        """All lines are read; backends that are still starting are waited for."""
        self._keep(self._record.at("in_progress"))
        with suppress(ForesightError):  # those that cannot start fail line by line
            waiting = asyncio.run_coroutine_threadsafe(self._gateway.ready(), self._loop)
            await asyncio.wrap_future(waiting)

    def _keep_counts(self) -> None:
        if (now := self._progress) is not None:
            counts = {"total": now.total, "completed": now.done - now.refused, "failed": now.failed}
            self._keep(replace(self._record, counts=counts))

    def _keep(self, record: Record) -> None:
        if record != self._record:
            self._record = record
            self._batches.write(record)

    def _fail(self, errors: list[dict[str, Any]]) -> None:
        self._finish("failed", errors=errors)

    def _finish(
        self, status: str, summary: dict[str, Any] | None = None, errors: list[dict[str, Any]] | None = None
    ) -> None:
        """Hand the files over; what is done twice after a crash comes out the same."""
        place = Place(self._batches.output(self._record))
        if summary is None:
            _write_what_there_is(place)
        record = self._record.at("finalizing")
        taken = {}
        for field, path in (("output_file_id", place.output), ("error_file_id", place.errors)):
            name = _name_of(record.id, field)
            if path.is_file() and path.stat().st_size:
                filename = f"{record.id}_{field.removesuffix('_file_id')}.jsonl"
                self._files.add(path, filename, "batch_output", record.owner, name)
                taken[field] = name
            elif self._files.has(name):
                taken[field] = name
        counts = dict(record.counts)
        if summary is not None:
            answered, failed = summary["answered"], summary["failed"]
            counts = {"total": answered + failed, "completed": answered, "failed": failed}
        ended = record.at(
            status, files=taken, counts=counts, summary=summary, errors=tuple(errors or record.errors)
        )
        self._keep(ended)
        shutil.rmtree(place.folder, ignore_errors=True)
        self._batches.lines(record).unlink(missing_ok=True)
        logger.info("batch %s is %s", record.id, status)


def _write_what_there_is(place: Place) -> None:
    """The answers of a job that ends early; none are lost that were paid."""
    job = Job.begun(place)
    if job is not None:
        with job:
            job.finish([], [], {"stopped": True})


def _fault(code: str, message: str, line: int | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "param": None, "line": line}


def _name_of(batch: str, field: str) -> str:
    """The same name whenever a batch is finished."""
    return "file-" + hashlib.blake2b(f"{batch} {field}".encode(), digest_size=16).hexdigest()
