"""``foresight bench forecast``: what forecasts are worth on real training runs and on public checkpoints.

Small models are trained once and their answers kept, both under ``--work``. Nothing is chosen on what is
reported: probes are frozen, rankers leave the task out, curves see the first eighteenth.
"""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmarks.row import Row, Setting


def benchmark(setting: Setting) -> Iterator[Row]:
    """Yield all rows, the quick ones first."""
    from eval.benchmarks.forecast import checkpoints, contexts, curves, decisions, ends, passes, ranks, speed

    for part in (contexts, passes, curves, ends, checkpoints, speed, ranks, decisions):
        yield from part.rows(setting)
