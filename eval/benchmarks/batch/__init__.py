"""``foresight bench batch``: a job's plan, its money, its stops, and what joint allocation is worth."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmarks.row import Row, Setting


def benchmark(setting: Setting) -> Iterator[Row]:
    """Yield all rows, the quick ones first; a quick run leaves out the sets that take minutes to read."""
    from eval.benchmarks.batch import budgets, joint, kills, on_ray, overhead, planning, simulation

    parts = (
        (planning, simulation, kills)
        if setting.quick
        else (planning, simulation, budgets, overhead, kills, on_ray, joint)
    )
    for part in parts:
        yield from part.rows(setting)
