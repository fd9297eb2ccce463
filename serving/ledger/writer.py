"""The thread that writes: a bounded queue in front of it, so that no answer ever waits for a disk."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from sqlalchemy.exc import DatabaseError, DataError, IntegrityError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from serving.ledger.entries import Entry, Rated

logger = logging.getLogger("foresight.ledger")

BATCH = 1000
"""Most entries of one transaction."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
"""Pause after a failed write; doubled each time."""
_UNREACHABLE = (DatabaseError, InterfaceError, PoolTimeoutError, OSError)
_REFUSED = (DataError, IntegrityError)
"""Of the above, those that are an entry's own fault."""


class WriterNotes(Protocol):
    """Told how writing goes; counts it."""

    def wrote(self, n_entries: int) -> None:
        """Entries are on disk."""
        ...

    def dropped(self, kind: str) -> None:
        """An entry is lost: `full` (the queue was), `refused` (by the database) or `closed`."""
        ...

    def reachable(self, yes: bool) -> None:
        """Whether the last write went well."""
        ...


class Writer:
    """Takes entries at once, and writes them in batches.

    While the database is away, entries wait in the queue; once that is full, new ones are dropped.

    Parameters
    ----------
    write
        Writes a batch in one transaction.
    notes
        Told how it goes.
    capacity
        Most entries that wait.
    flush_s
        Time for company: how long an entry may wait before it is written.
    """

    def __init__(
        self, write: Callable[[Sequence[Entry]], None], notes: WriterNotes, *, capacity: int, flush_s: float
    ) -> None:
        self._write = write
        self._notes = notes
        self._capacity = capacity
        self._flush_s = flush_s
        self._queue: deque[Entry] = deque()
        self._batch: list[Entry] = []
        self._taken = self._settled = 0  # entries since the beginning
        self._work = threading.Event()
        self._stop = threading.Event()
        self._hurry = threading.Event()
        self._dropping = False
        self._up = True
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    def __len__(self) -> int:
        """Entries that are not on disk."""
        return len(self._queue) + len(self._batch)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, entry: Entry) -> bool:
        """Take an entry; False if it had to be dropped. Never waits."""
        if len(self._queue) >= self._capacity or self._stop.is_set():
            self._drop("closed" if self._stop.is_set() else "full")
            return False
        self._taken += 1
        self._queue.append(entry)
        if not self._work.is_set():
            self._work.set()
        return True

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was put so far is on disk; False if it did not get there in time."""
        deadline, goal = time.monotonic() + timeout_s, self._taken
        self._hurry.set()
        while self._owes(goal) and time.monotonic() < deadline and self._thread.is_alive():
            time.sleep(0.005)
        return not self._owes(goal)

    def _owes(self, goal: int) -> bool:
        """Whether one of the first `goal` entries is not settled yet."""
        return self._settled < goal and bool(len(self))

    def close(self, timeout_s: float) -> int:
        """Write what is left, end the thread, and return how many entries could not be written in time."""
        if self._thread.is_alive():
            self.flush(timeout_s)
        self._stop.set()
        self._hurry.set()
        self._work.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        left = [*self._batch, *self._queue]
        for entry in left:
            self._notes.dropped("closed")
            if isinstance(entry, Rated):
                entry.done.cancel()
        return len(left)

    def _run(self) -> None:
        while True:
            self._work.wait()
            self._hurry.wait(self._flush_s)
            self._hurry.clear()
            self._work.clear()  # before the queue is read: what comes later sets it again
            if not self._empty():
                return
            if self._stop.is_set() and not self._queue:
                return

    def _empty(self) -> bool:
        """Write what waits, but no small batch of what came meanwhile; False as in `_deliver`."""
        while self._queue:
            self._take()
            if not self._deliver():
                return False
            if len(self._queue) < BATCH and not self._stop.is_set():
                break
        if self._queue:
            self._work.set()
        return True

    def _take(self) -> None:
        while self._queue and len(self._batch) < BATCH:
            self._batch.append(self._queue[0])  # first there, then gone here: `flush` never overlooks it
            self._queue.popleft()

    def _deliver(self) -> bool:
        """Write the batch, however long it takes; False if the writer was closed before that."""
        pause_s = FIRST_PAUSE_S
        while self._batch:
            try:
                self._write(self._batch)
            except _UNREACHABLE as error:
                if isinstance(error, _REFUSED):
                    self._one_by_one()
                    continue
                self._saw_failure(error)
                if self._stop.wait(pause_s):
                    return False
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            except Exception as error:
                logger.error("entries cannot be written together: %s", type(error).__name__)
                self._one_by_one()
            else:
                self._delivered(len(self._batch))
                self._batch.clear()
        return True

    def _one_by_one(self) -> None:
        """Write the entries each by itself and drop those that the database refuses; some may be left."""
        while self._batch:
            try:
                self._write(self._batch[:1])
            except _UNREACHABLE as error:
                if not isinstance(error, _REFUSED):
                    return
                self._refuse(error)
            except Exception as error:
                self._refuse(error)
            else:
                self._delivered(1)
            del self._batch[:1]

    def _refuse(self, error: Exception) -> None:
        entry = self._batch[0]
        logger.error("the ledger refuses a %s: %s", type(entry).__name__, type(error).__name__)
        self._settled += 1
        self._notes.dropped("refused")
        if isinstance(entry, Rated) and entry.done.set_running_or_notify_cancel():
            entry.done.set_exception(error)

    def _delivered(self, n_entries: int) -> None:
        self._settled += n_entries
        self._notes.wrote(n_entries)
        self._dropping = False
        if not self._up:
            logger.warning("the ledger is written again")
        self._up = True
        self._notes.reachable(True)

    def _saw_failure(self, error: Exception) -> None:
        if self._up:
            cause = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            logger.error("the ledger cannot be written (%s); answers go on", cause)
        self._up = False
        self._notes.reachable(False)

    def _drop(self, kind: str) -> None:
        if not self._dropping:
            logger.error("the ledger's queue is %s; entries are dropped", kind)
        self._dropping = True
        self._notes.dropped(kind)
