"""An append-only record of paid calls that survives ``kill -9``.

One JSON object a line (`router.journal`); exactly the calls without a complete line are made again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from probes.errors import DataError
from router.journal import JsonLog


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
        self._log = JsonLog(path, command="foresight collect")

    def __enter__(self) -> Self:
        self._log.__enter__()
        try:
            for entry in self._log.entries():
                answer = self._answer(entry.line, entry.row)
                self.answers[answer.key] = answer
        except BaseException:
            self._log.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.close()

    def append(self, answer: Answer) -> None:
        """Record a finished call; it is on disk when this returns.

        Blocking on purpose: a millisecond of the event loop buys that no cancellation can come between
        a paid answer and its record.
        """
        self._log.append(asdict(answer))
        self.answers[answer.key] = answer

    def _answer(self, line: int, row: dict[str, Any]) -> Answer:
        names = {field.name for field in fields(Answer)}
        if row.keys() != names:
            wrong = ", ".join(sorted(row.keys() ^ names))
            raise DataError(
                f"{self.path}, line {line}: not a collected answer (fields at fault: {wrong}).",
                hint="Restore the file, or collect into another folder.",
            )
        return Answer(**row)
