"""A job on disk: its journal, what it was planned for, and its files once it is over."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from probes.errors import UsageError
from probes.files import whole_file
from router.allocation.spending import Goal
from router.journal import JsonLog
from router.router import Router
from serving.batch.lines import Fault, opened

COMMAND = "foresight batch run"
PARTS = {
    "input": "the input file",
    "pool": "the pool (candidates, prices or decoding)",
    "router": "the fitted router",
    "goal": "the budget, floor or policy",
}
"""What must be the same when a job is started again."""


@dataclass(frozen=True)
class Place:
    """Where the files of one output are."""

    output: Path

    @property
    def folder(self) -> Path:
        """The job's own folder, beside its output."""
        return self.output.with_name(self.output.name + ".job")

    @property
    def journal(self) -> Path:
        """One finished line a line."""
        return self.folder / "journal.jsonl"

    @property
    def survey(self) -> Path:
        """The numbers that the plan was made of."""
        return self.folder / "survey.npz"

    @property
    def manifest(self) -> Path:
        """Written last: a job that has it is over."""
        return self.folder / "manifest.json"

    @property
    def errors(self) -> Path:
        """The errors' own file."""
        return self.output.with_name(self.output.stem + ".errors.jsonl")


def terms_of(path: Path, router: Router, goal: Goal) -> dict[str, str]:
    """Digests of everything that a job's plan depends on, by `PARTS`."""
    with opened(path) as handle:
        content = hashlib.file_digest(handle, "sha256").hexdigest()
    pool = router.pool.snapshot(Path("/"))
    pool.pop("backends", None)  # where a model runs may change; who it is and what it costs may not
    fitted = {"fitted": router.fitted.to_dict(), "scout": asdict(router.identity)}
    return {
        "input": content,
        "pool": _digest(pool),
        "router": _digest(fitted),
        "goal": f"{type(goal).__name__} {json.dumps(asdict(goal))}",
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True)
class Finished:
    """What is kept in memory of a finished line."""

    candidate: int
    cost_usd: float
    offset: int


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
    """

    def __init__(self, place: Place, terms: dict[str, str]) -> None:
        self.place = place
        self.terms = terms
        self.created = int(time.time())
        self.answered: dict[int, Finished] = {}
        self.refused: dict[int, Finished] = {}
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
    def done(self) -> set[int]:
        """Numbers of the lines that are over."""
        return self.answered.keys() | self.refused.keys()

    def answer(self, number: int, candidate: int, cost_usd: float, output: dict[str, Any]) -> None:
        """Keep an answer; it is on disk when this returns."""
        row = {"line": number, "candidate": candidate, "cost_usd": cost_usd, "output": output}
        self.answered[number] = Finished(candidate, cost_usd, self._log.append(row))

    def refuse(self, number: int, candidate: int, output: dict[str, Any]) -> None:
        """Keep an error that another try would not change."""
        row = {"line": number, "candidate": candidate, "cost_usd": 0.0, "error": output}
        self.refused[number] = Finished(candidate, 0.0, self._log.append(row))

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
        _write(self.place.output, self._rows(self.answered, "output"))
        _write(self.place.errors, errors)
        _write(self.place.manifest, [{"terms": self.terms, **summary}])

    def _rows(self, finished: dict[int, Finished], field: str) -> Iterator[dict[str, Any]]:
        """Rows of the journal ordered by custom_id, one in memory at a time."""
        with self.place.journal.open("rb") as handle:

            def row(entry: Finished) -> dict[str, Any]:
                handle.seek(entry.offset)
                found: dict[str, Any] = json.loads(handle.readline())[field]
                return found

            named = sorted(
                (str(row(entry)["custom_id"]), entry.offset, entry) for entry in _in_order(finished)
            )
            for _, _, entry in named:
                yield row(entry)

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
            row = entry.row
            kept = self.answered if "output" in row else self.refused
            kept[int(row["line"])] = Finished(int(row["candidate"]), float(row["cost_usd"]), entry.offset)

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


def _in_order(finished: dict[int, Finished]) -> list[Finished]:
    return [finished[number] for number in sorted(finished)]


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
    try:
        with whole_file(path) as fresh, fresh.open("w", encoding="utf-8") as handle:
            handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}.",
            param="output",
            hint="Make room or choose another folder; the same command goes on from there.",
        ) from error
