"""All that is known of a job's lines before one is answered: a few numbers a line, never its text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from router.allocation.allocation import Worth
from router.allocation.multiplier import Floats, Ints
from serving.batch.files import written
from serving.batch.reading.lines import Fault


@dataclass(frozen=True, eq=False)
class Survey:
    """n lines that can be run, and those that cannot.

    Attributes
    ----------
    numbers, offsets : ndarray of shape (n,)
        Line numbers from 1, and where in the file each begins.
    worth : Worth
        Success and expected cost of every candidate.
    worst_usd : ndarray of shape (n, K)
        The most that each answer can cost.
    own : ndarray of shape (n,)
        The candidate of a line that chooses by itself (named, or by a policy of its own); −1 for the others.
    groups : ndarray of shape (n,)
        Lines of one group share the beginning of their prompts.
    faults : tuple of Fault
        Lines that cannot be run.
    """

    numbers: Ints
    offsets: Ints
    worth: Worth
    worst_usd: Floats
    own: Ints
    groups: np.ndarray[Any, np.dtype[np.uint64]]
    faults: tuple[Fault, ...] = ()

    def __len__(self) -> int:
        return len(self.numbers)

    def with_faults(self, faults: Sequence[Fault]) -> Survey:
        """With further lines that cannot be run."""
        return replace(self, faults=(*self.faults, *faults))

    def save(self, path: Path) -> None:
        """Write it down, so that a job that is started again decides on the very same numbers."""
        with written(path) as fresh, fresh.open("wb") as handle:
            self.dump(handle)

    def dump(self, handle: IO[bytes]) -> None:
        """Write it to an open file."""
        faults = json.dumps([[f.number, f.custom_id, f.code, f.message] for f in self.faults])
        arrays = {name: getattr(self, name) for name in ("numbers", "offsets", "worst_usd", "own", "groups")}
        text = np.frombuffer(faults.encode(), np.uint8)
        np.savez(handle, success=self.worth.success, cost_usd=self.worth.cost_usd, faults=text, **arrays)

    @classmethod
    def load(cls, path: Path | IO[bytes]) -> Survey:
        """What `save` or `dump` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            parts = {name: stored[name] for name in stored.files}
        faults = json.loads(parts.pop("faults").tobytes())
        worth = Worth(parts.pop("success"), parts.pop("cost_usd"))
        return cls(worth=worth, faults=tuple(Fault(*fault) for fault in faults), **parts)


def joined(parts: Sequence[Survey], k: int) -> Survey:
    """One survey of them all, ordered by line."""
    parts = [part for part in parts if len(part) or part.faults] or [assembled([], [], k)]
    numbers = np.concatenate([part.numbers for part in parts])
    order = np.argsort(numbers, kind="stable")

    def column(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])[order]

    worth = Worth(
        np.concatenate([part.worth.success for part in parts], axis=1)[:, order],
        np.concatenate([part.worth.cost_usd for part in parts], axis=1)[:, order],
    )
    faults = sorted((fault for part in parts for fault in part.faults), key=lambda fault: fault.number)
    names = ("offsets", "worst_usd", "own", "groups")
    return Survey(numbers[order], worth=worth, faults=tuple(faults), **{name: column(name) for name in names})


def assembled(blocks: list[list[Any]], faults: list[Fault], k: int) -> Survey:
    """From lists of number, offset, successes, costs, worst costs, own candidate and group."""
    blocks.sort(key=lambda block: int(block[0]))
    columns: list[Any] = list(zip(*blocks, strict=True)) if blocks else [()] * 7
    shape = (len(blocks), k)
    return Survey(
        np.array(columns[0], dtype=np.intp),
        np.array(columns[1], dtype=np.intp),
        Worth(
            np.array(columns[2], dtype=np.float64).reshape(shape).T.copy(),
            np.array(columns[3], dtype=np.float64).reshape(shape).T.copy(),
        ),
        np.array(columns[4], dtype=np.float64).reshape(shape),
        np.array(columns[5], dtype=np.intp),
        np.array(columns[6], dtype=np.uint64),
        tuple(faults),
    )
