"""What is known of a batch, and where it is kept: one folder each, one JSON file that is written whole.

After a batch is made only the gateway that runs it writes that file; a wish to cancel is a file of its own,
so that any gateway that shares the folder can take it.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from probes.files import OWNER_ONLY, whole_file
from router.allocation.spending import ForAccuracy, ForBudget, ForPolicy, Goal
from router.policies import Bar
from serving.files_api.names import is_name, new_name
from serving.http.errors import ApiError

FINAL = frozenset({"completed", "failed", "expired", "cancelled"})
WINDOW_S = 24 * 3600
_MOMENTS = (
    "created_at",
    "in_progress_at",
    "expires_at",
    "finalizing_at",
    "completed_at",
    "failed_at",
    "expired_at",
    "cancelling_at",
    "cancelled_at",
)


@dataclass(frozen=True)
class Order:
    """What a client asked for.

    Attributes
    ----------
    endpoint
        Path that every line is for.
    input_file_id
        The uploaded lines.
    metadata
        The client's own words.
    budget_usd, min_accuracy, policy
        The job's goal, at most one of them; none: every line by itself, by the pool's policy.
    skip_bad
        Whether the other lines run where some cannot.
    accept
        Confidence below which a first answer is asked once more; None: first answers are not looked at.
    """

    endpoint: str
    input_file_id: str
    metadata: Mapping[str, str] | None = None
    budget_usd: float | None = None
    min_accuracy: float | None = None
    policy: str | None = None
    skip_bad: bool = False
    accept: float | None = None

    @property
    def bar(self) -> Bar | None:
        """For the job's self-check."""
        return None if self.accept is None else Bar(self.accept)

    @property
    def goal(self) -> Goal:
        """For the job."""
        if self.budget_usd is not None:
            return ForBudget(self.budget_usd)
        if self.min_accuracy is not None:
            return ForAccuracy(self.min_accuracy)
        return ForPolicy(self.policy)


@dataclass(frozen=True)
class Record:
    """A batch and how far it is.

    Attributes
    ----------
    id, owner
        Its name, and the key that made it (None where no keys are asked for).
    order
        What was asked for.
    status
        As OpenAI's.
    moments
        Unix times in seconds, by OpenAI's names.
    counts
        Lines: total, completed, failed.
    errors
        Why it failed: code, message, param, line.
    files
        Names of `output_file_id` and `error_file_id`.
    summary
        What the job came to.
    """

    id: str
    owner: str | None
    order: Order
    status: str = "validating"
    moments: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=lambda: {"total": 0, "completed": 0, "failed": 0})
    errors: tuple[Mapping[str, Any], ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    summary: Mapping[str, Any] | None = None

    @property
    def over(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in FINAL

    def at(self, status: str, **changes: Any) -> Record:
        """In another state from now on; the first time counts."""
        moments = {**self.moments}
        moments.setdefault(f"{status}_at", int(time.time()))
        return replace(self, status=status, moments=moments, **changes)

    def to_openai(self) -> dict[str, Any]:
        """OpenAI's batch object, and the job's summary as `foresight`."""
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.order.endpoint,
            "input_file_id": self.order.input_file_id,
            "completion_window": "24h",
            "status": self.status,
            "output_file_id": self.files.get("output_file_id"),
            "error_file_id": self.files.get("error_file_id"),
            "errors": {"object": "list", "data": list(self.errors)} if self.errors else None,
            "request_counts": dict(self.counts),
            "metadata": None if self.order.metadata is None else dict(self.order.metadata),
            **{name: self.moments.get(name) for name in _MOMENTS},
            "foresight": None if self.summary is None else dict(self.summary),
        }


class BatchStore:
    """Batches below one folder, which is made when the first one comes.

    Parameters
    ----------
    folder
        Where they are; several gateways may share it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(self, order: Order, owner: str | None, content: Path) -> Record:
        """A new batch over a copy of these lines (a second name for them, where the file system has that)."""
        now = int(time.time())
        moments = {"created_at": now, "expires_at": now + WINDOW_S}
        record = Record(new_name("batch_"), owner, order, moments=moments)
        place = self.folder / record.id
        place.mkdir(parents=True, mode=0o700)
        try:
            os.link(content, self.lines(record))
        except OSError:
            shutil.copyfile(content, self.lines(record))
        self.write(record)
        return record

    def write(self, record: Record) -> None:
        """Keep a batch's state."""
        with whole_file(self._file(record.id), mode=OWNER_ONLY) as fresh:
            fresh.write_text(json.dumps(asdict(record)), encoding="utf-8")

    def get(self, name: str, owner: str | None) -> Record:
        """A batch of this owner; `ApiError` (404) where there is none."""
        found = self._read(name) if is_name(name) else None
        if found is None or found.owner != owner:
            raise ApiError(404, f"There is no batch {name[:80]!r}.", param="batch_id", code="batch_not_found")
        return self._seen(found)

    def owned(self, owner: str | None) -> Iterator[Record]:
        """All batches of this owner."""
        yield from (self._seen(record) for record in self._all() if record.owner == owner)

    def waiting(self) -> list[Record]:
        """Everybody's that are not over, the oldest first."""
        return sorted((record for record in self._all() if not record.over), key=lambda record: record.id)

    def cancel(self, record: Record) -> None:
        """Wish that it ends."""
        self._cancel(record.id).touch()

    def cancelled(self, record: Record) -> bool:
        """Whether somebody wishes that it ends."""
        return self._cancel(record.id).exists()

    def lines(self, record: Record) -> Path:
        """Its input."""
        return self.folder / record.id / "input.jsonl"

    def output(self, record: Record) -> Path:
        """Its output while it runs."""
        return self.folder / record.id / "output.jsonl"

    def _seen(self, record: Record) -> Record:
        """As its owner sees it."""
        if record.over or not self.cancelled(record):
            return record
        at = int(self._cancel(record.id).stat().st_mtime)
        return replace(record, status="cancelling", moments={**record.moments, "cancelling_at": at})

    def _all(self) -> Iterator[Record]:
        for path in self.folder.glob("batch_*"):
            if (found := self._read(path.name)) is not None:
                yield found

    def _read(self, name: str) -> Record | None:
        try:
            row = json.loads(self._file(name).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Record(**{**row, "order": Order(**row["order"]), "errors": tuple(row["errors"])})

    def _file(self, name: str) -> Path:
        return self.folder / name / "batch.json"

    def _cancel(self, name: str) -> Path:
        return self.folder / name / "cancel"
