"""A job on disk: its journal, and its files once it is over."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from probes.errors import UsageError
from router.journal import JsonLog
from serving.batch.files import written
from serving.batch.place import PARTS, Place
from serving.batch.reading.lines import Fault

COMMAND = "foresight batch run"


@dataclass(frozen=True)
class Finished:
    """What is kept in memory of an answer, or an error: who, its price, its place in the journal.

    An answer that is `doubtful` looks wrong; another one may be asked for.
    """

    candidate: int
    cost_usd: float
    offset: int
    doubtful: bool = False


class ChangedTerms(UsageError):
    """A job was begun for another input, pool, router or goal."""


class Job:
    """The journal of one job; a context manager that holds its lock.

    Parameters
    ----------
    place
        Its files.
    terms
        From `terms_of`.

    Raises
    ------
    UsageError
        Another process runs it, its folder cannot be written, or it was begun on other terms.

    Attributes
    ----------
    answered, refused
        First answers, and errors for good, by line.
    again
        Second answers of lines whose first one was in doubt.
    standing
        Lines in doubt whose second candidate has refused them: the first answer stands.
    spent_usd
        All that was paid.
    """

    def __init__(self, place: Place, terms: dict[str, str]) -> None:
        self.place = place
        self.terms = terms
        self.created = int(time.time())
        self.answered: dict[int, Finished] = {}
        self.refused: dict[int, Finished] = {}
        self.again: dict[int, Finished] = {}
        self.standing: set[int] = set()
        self.spent_usd = 0.0
        self._log = JsonLog(place.journal, command=COMMAND)

    def __enter__(self) -> Self:
        self._log.__enter__()
        try:
            self._recall()
        except BaseException:
            self._log.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.close()

    @property
    def final(self) -> dict[int, Finished]:
        """The answers that count, by line: the second where there is one."""
        return {**self.answered, **self.again}

    def answer(
        self,
        number: int,
        candidate: int,
        cost_usd: float,
        output: dict[str, Any],
        *,
        doubtful: bool = False,
    ) -> None:
        """Keep an answer; it is on disk when this returns."""
        row = {"line": number, "candidate": candidate, "cost_usd": cost_usd, "output": output}
        self._keep({**row, "doubtful": True} if doubtful else row)

    def answer_again(self, number: int, candidate: int, cost_usd: float, output: dict[str, Any]) -> None:
        """Keep a second answer, which takes the place of the first."""
        row = {"line": number, "candidate": candidate, "cost_usd": cost_usd, "output": output}
        self._keep({**row, "again": True})

    def stand(self, number: int, reason: str) -> None:
        """Keep that a second answer was refused, so that it is not asked for any more."""
        self._keep({"line": number, "stands": reason})

    def refuse(self, number: int, candidate: int, output: dict[str, Any]) -> None:
        """Keep an error that another try would not change."""
        self._keep({"line": number, "candidate": candidate, "cost_usd": 0.0, "error": output})

    def output_of(self, number: int) -> dict[str, Any]:
        """The first answer of a line, as it stands in the journal."""
        with self.place.journal.open("rb") as handle:
            return _field_at(handle, self.answered[number], "output")

    def _keep(self, row: dict[str, Any]) -> None:
        self._note(row, self._log.append(row))

    def _note(self, row: dict[str, Any], offset: int) -> None:
        """Remember a row of the journal."""
        number = int(row["line"])
        if "stands" in row:
            self.standing.add(number)
            return
        kept = self.refused if "error" in row else self.again if row.get("again") else self.answered
        cost_usd = float(row["cost_usd"])
        kept[number] = Finished(int(row["candidate"]), cost_usd, offset, bool(row.get("doubtful")))
        self.spent_usd += cost_usd

    def finish(
        self, faults: Iterable[Fault], late: Iterable[dict[str, Any]], summary: dict[str, Any]
    ) -> None:
        """Write the output, the errors and, last, the manifest; each file is whole or not there.

        Parameters
        ----------
        faults
            Lines that could not be run.
        late
            Error rows of lines that another run may still answer.
        summary
            For the manifest.
        """
        own = [error_row(fault.custom_id, fault.number, fault.code, fault.message) for fault in faults]
        kept = self._rows(self.refused, "error")
        errors = sorted([*own, *late, *kept], key=lambda row: (row["custom_id"] or "", row["line"]))
        _write(self.place.output, self._rows(self.final, "output"))
        _write(self.place.errors, errors)
        _write(self.place.manifest, [{"terms": self.terms, **summary}])

    def _rows(self, finished: dict[int, Finished], field: str) -> Iterator[dict[str, Any]]:
        """Rows of the journal ordered by custom_id, one in memory at a time."""
        with self.place.journal.open("rb") as handle:
            names = [
                (str(_field_at(handle, finished[number], field)["custom_id"]), number)
                for number in sorted(finished)
            ]
            for _, number in sorted(names):
                yield _field_at(handle, finished[number], field)

    @classmethod
    def begun(cls, place: Place) -> Self | None:
        """The job that was begun here, on whatever terms; None if none was."""
        if not place.journal.is_file():
            return None
        with place.journal.open("rb") as handle:
            first = handle.readline()
        return cls(place, json.loads(first)["job"]) if first.endswith(b"\n") else None

    def _recall(self) -> None:
        entries = self._log.entries()
        first, second = next(entries, None), next(entries, None)
        if first is None or (second is None and first.row.get("job") != self.terms):
            self._begin()  # nothing was paid yet: mended lines or another budget are welcome
            return
        self._check_terms(first.row)
        self.created = int(first.row.get("created", self.created))
        for entry in chain([second] if second else [], entries):
            self._note(entry.row, entry.offset)

    def _begin(self) -> None:
        self.place.survey.unlink(missing_ok=True)
        self._log.clear()
        self._log.append({"job": self.terms, "created": self.created})

    def _check_terms(self, header: dict[str, Any]) -> None:
        before = header.get("job") or {}
        changed = [words for name, words in PARTS.items() if before.get(name) != self.terms[name]]
        if changed:
            raise ChangedTerms(
                f"{self.place.output} was begun otherwise; changed since: {', '.join(changed)}.",
                param="output",
                hint=f"Put it back, choose another output, or remove {self.place.folder} to begin anew.",
            )


def _field_at(handle: IO[bytes], entry: Finished, field: str) -> dict[str, Any]:
    """A part of an answer's row in the journal."""
    handle.seek(entry.offset)
    found: dict[str, Any] = json.loads(handle.readline())[field]
    return found


def error_row(custom_id: str | None, number: int, code: str, message: str) -> dict[str, Any]:
    """A line of the errors' file, in OpenAI's shape and with the number of the line."""
    return {
        "id": f"batch_req_{number}",
        "custom_id": custom_id,
        "response": None,
        "error": {"code": code, "message": message},
        "line": number,
    }


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """JSON lines that are all there or not at all."""
    with written(path) as fresh, fresh.open("w", encoding="utf-8") as handle:
        handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
