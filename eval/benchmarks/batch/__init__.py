"""``foresight bench batch``: a job's plan, its money, and what joint allocation is worth."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmarks.row import Row, Setting


def benchmark(setting: Setting) -> Iterator[Row]:
    """Yield all rows, the quick ones first."""
    from eval.benchmarks.batch import joint, planning, simulation

    for part in (planning, simulation, joint):
        yield from part.rows(setting)
