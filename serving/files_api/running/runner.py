"""Runs the batches of one folder in a thread of its own: reading, planning and the journal's `fsync` stay off
the gateway's event loop. Of several gateways that share a folder the one that holds its lock runs them."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from probes.errors import BackendError
from serving.files_api.batches import BatchStore, Record
from serving.files_api.files import FileStore
from serving.files_api.running.work import Work
from serving.flow.gateway import Gateway
from serving.settings import FileSettings

logger = logging.getLogger("foresight.batches")

REST_S = 15.0
"""Time until a batch whose backends failed is tried again."""
STALE_S = 24 * 3600.0
"""Age at which an upload that never ended is removed."""


class BatchRunner:
    """Starts with the gateway, stops before its backends do.

    Parameters
    ----------
    gateway
        Who answers.
    files, batches
        Where everything is kept.
    settings
        How much at once.
    """

    def __init__(
        self, gateway: Gateway, files: FileStore, batches: BatchStore, settings: FileSettings
    ) -> None:
        self._gateway, self._files, self._batches, self._settings = gateway, files, batches, settings
        self._lock = _FolderLock(batches.folder / "lock")
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._rest_until: dict[str, float] = {}
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken: asyncio.Event | None = None
        self._stop = False

    async def start(self) -> None:
        """Go on with what is not over."""
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._work(loop)), name="batches", daemon=True
        )
        self._thread.start()

    async def close(self) -> None:
        """Stop; batches that are not over go on when a gateway starts again."""
        self._stop = True
        self.wake()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def wake(self) -> None:
        """Look at the folder now; from any thread."""
        loop, woken = self._loop, self._woken
        if loop is not None and woken is not None:
            with suppress(RuntimeError):  # the loop has just ended
                loop.call_soon_threadsafe(woken.set)

    async def _work(self, gateways: asyncio.AbstractEventLoop) -> None:
        self._woken, self._loop = asyncio.Event(), asyncio.get_running_loop()
        try:
            while not self._stop:
                try:
                    self._begin(gateways)
                except OSError as error:
                    logger.error("the folder of batches cannot be read: %s", error.strerror)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), self._settings.poll_s)
                self._woken.clear()
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            self._lock.release()

    def _begin(self, gateways: asyncio.AbstractEventLoop) -> None:
        """Start what waits, as far as there is room."""
        self._tasks = {name: task for name, task in self._tasks.items() if not task.done()}
        if not self._batches.folder.is_dir() or not self._lock.acquire():
            return
        for record in self._batches.waiting():
            if len(self._tasks) >= self._settings.parallel:
                break
            if record.id not in self._tasks and self._rest_until.get(record.id, 0.0) <= time.monotonic():
                self._tasks[record.id] = asyncio.create_task(self._one(record, gateways))

    async def _one(self, record: Record, gateways: asyncio.AbstractEventLoop) -> None:
        work = Work(record, self._gateway, gateways, self._files, self._batches, self._settings)
        try:
            await work.run()
        except BackendError as error:
            logger.warning("batch %s rests: %s", record.id, error.message)
            self._rest_until[record.id] = time.monotonic() + REST_S
        except Exception:  # one batch must not take the others down
            logger.exception("batch %s stopped", record.id)
            self._rest_until[record.id] = time.monotonic() + REST_S
        finally:
            self.wake()


class _FolderLock:
    """Held by one process; freed when it ends, however that happens."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def acquire(self) -> bool:
        """Whether it is held now."""
        if self._descriptor >= 0:
            return True
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Give it back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
