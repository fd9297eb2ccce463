"""An append-only file of JSON objects that survives ``kill -9``: what is in it has happened, once.

One object a line, synced to disk before `append` returns. After a crash the last line may be torn; it is cut
off when the file is opened again. A lock keeps a second process out.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from probes.errors import DataError, UsageError

CHUNK = 1 << 16


@dataclass(frozen=True)
class Entry:
    """One object of a log: its line (from 1), where its line begins, and itself."""

    line: int
    offset: int
    row: dict[str, Any]


class JsonLog:
    """A context manager that holds a lock on its file.

    Parameters
    ----------
    path : Path
        Made, with its folder, when it does not exist.
    command : str
        Who writes such files, for the message of a lock that is held.

    Raises
    ------
    UsageError
        Another process is writing it, or the place cannot be written.
    """

    def __init__(self, path: Path, *, command: str) -> None:
        self.path = path
        self._command = command
        self._descriptor = -1
        self._size = 0

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            created = not self.path.exists()
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self._lock()
            self._cut_torn_line()
            if created:
                sync_folder(self.path.parent)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the lock back; safe more than once."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def append(self, row: dict[str, Any]) -> int:
        """Put an object on disk; it is there when this returns, or not at all.

        Blocking on purpose: a millisecond of the event loop buys that no cancellation can come between
        a paid answer and its record.

        Returns
        -------
        int
            Where its line begins.

        Raises
        ------
        UsageError
            The disk is full or the file cannot be written; the line that was begun is taken back.
        """
        line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
        offset, left = self._size, memoryview(line)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
            os.fsync(self._descriptor)
        except OSError as error:
            os.ftruncate(self._descriptor, offset)
            raise self._unwritable(error) from error
        self._size += len(line)
        return offset

    def clear(self) -> None:
        """Forget everything."""
        os.ftruncate(self._descriptor, 0)
        self._size = 0

    def entries(self) -> Iterator[Entry]:
        """Every object, in order of writing, one held at a time.

        Raises
        ------
        DataError
            A complete line is no JSON object.
        """
        offset = 0
        with self.path.open("rb") as handle:
            for number, raw in enumerate(handle, start=1):
                yield Entry(number, offset, self._parse(number, raw))
                offset += len(raw)

    def _parse(self, number: int, raw: bytes) -> dict[str, Any]:
        try:
            row = json.loads(raw)
        except ValueError as error:
            row = error
        if not isinstance(row, dict):
            message = f"{self.path}, line {number}: not valid JSON, or no object."
            raise DataError(message, hint="Restore the file, or begin anew in another folder.")
        return row

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"{self.path} is being written by another process.",
                hint=f"Wait for the other `{self._command}`, or choose another output.",
            ) from error

    def _cut_torn_line(self) -> None:
        """Look for the last line break from the end: a log may be larger than memory."""
        end = os.fstat(self._descriptor).st_size
        self._size = 0
        while end > 0:
            begin = max(0, end - CHUNK)
            found = os.pread(self._descriptor, end - begin, begin).rfind(b"\n")
            if found >= 0:
                self._size = begin + found + 1
                break
            end = begin
        os.ftruncate(self._descriptor, self._size)

    def _unwritable(self, error: OSError) -> UsageError:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "Make room" if full else "Choose a folder that can be written"
        return UsageError(
            f"{self.path} cannot be written: {error.strerror}.",
            param="output",
            hint=f"{hint}; what is finished is kept, and the same command goes on from there.",
        )


def sync_folder(folder: Path) -> None:
    """Make a new file's name durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
