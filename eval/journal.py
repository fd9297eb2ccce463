"""An append-only record of paid calls that survives ``kill -9``.

One JSON object a line, synced to disk before the call counts as done. After a crash the last line may be
torn; it is cut off, and exactly the calls without a complete line are made again.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from eval.tables import read_json_lines
from probes.errors import DataError, UsageError


class Key(NamedTuple):
    """What a call is known by."""

    query_id: str
    candidate: str
    sample: int


@dataclass(frozen=True)
class Answer:
    """One finished call.

    Attributes
    ----------
    query_id, candidate : str
        Question and candidate.
    sample : int
        Which of the draws, counted from 0.
    request : str
        Fingerprint of the request body, so that a changed question or decoding is noticed.
    text : str
        What the candidate wrote.
    finish_reason : str or None
        As the backend says: ``stop``, ``length``, …
    input_tokens, output_tokens : int or None
        From the reply's ``usage``.
    latency_s : float
        Wall-clock seconds of the successful attempt.
    """

    query_id: str
    candidate: str
    sample: int
    request: str
    text: str
    finish_reason: str | None
    input_tokens: int | None
    output_tokens: int | None
    latency_s: float

    @property
    def key(self) -> Key:
        """What this call is known by."""
        return Key(self.query_id, self.candidate, self.sample)


class Journal:
    """The journal of one collection; a context manager that holds a lock on its file.

    Parameters
    ----------
    path : Path
        Made when it does not exist.

    Raises
    ------
    UsageError
        Another process is writing it.
    DataError
        A complete line is no answer.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers: dict[Key, Answer] = {}
        self._descriptor = -1

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        created = not self.path.exists()
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            self._lock()
            self._cut_torn_line()
            for line, row in read_json_lines(self.path):
                answer = self._answer(line, row)
                self.answers[answer.key] = answer
            if created:
                _sync_folder(self.path.parent)
        except BaseException:
            os.close(self._descriptor)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def append(self, answer: Answer) -> None:
        """Record a finished call; it is on disk when this returns.

        Blocking on purpose: a millisecond of the event loop buys that no cancellation can come between
        a paid answer and its record.
        """
        line = json.dumps(asdict(answer), ensure_ascii=False) + "\n"
        left = memoryview(line.encode())
        while left:
            left = left[os.write(self._descriptor, left) :]
        os.fsync(self._descriptor)
        self.answers[answer.key] = answer

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise UsageError(
                f"{self.path} is being written by another process.",
                hint="Wait for the other `foresight collect`, or choose another folder.",
            ) from exc

    def _cut_torn_line(self) -> None:
        content = self.path.read_bytes()
        complete = content.rfind(b"\n") + 1
        if complete < len(content):
            os.ftruncate(self._descriptor, complete)

    def _answer(self, line: int, row: dict[str, Any]) -> Answer:
        names = {field.name for field in fields(Answer)}
        if row.keys() != names:
            wrong = ", ".join(sorted(row.keys() ^ names))
            raise DataError(
                f"{self.path}, line {line}: not a collected answer (fields at fault: {wrong}).",
                hint="Restore the file, or collect into another folder.",
            )
        return Answer(**row)


def _sync_folder(folder: Path) -> None:
    """Make a new file's name durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
