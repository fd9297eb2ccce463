"""Where a job's files are, and what must be the same when it is started again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from router.allocation.spending import Goal
from router.policies import Bar
from router.router import Router
from serving.batch.files import opened

PARTS = {
    "input": "the input file",
    "pool": "the pool (candidates, prices or decoding)",
    "router": "the fitted router",
    "goal": "the budget, floor, policy or self-check",
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


def terms_of(path: Path, router: Router, goal: Goal, bar: Bar | None = None) -> dict[str, str]:
    """Digests of everything that a job's plan depends on, by `PARTS`."""
    with opened(path) as handle:
        content = hashlib.file_digest(handle, "sha256").hexdigest()
    pool = router.pool.snapshot(Path("/"))
    pool.pop("backends", None)  # where a model runs may change; who it is and what it costs may not
    fitted = {"fitted": router.fitted.to_dict(), "scout": asdict(router.identity)}
    checked = "" if bar is None else f" checked {json.dumps(asdict(bar))}"
    return {
        "input": content,
        "pool": _digest(pool),
        "router": _digest(fitted),
        "goal": f"{type(goal).__name__} {json.dumps(asdict(goal))}{checked}",
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
