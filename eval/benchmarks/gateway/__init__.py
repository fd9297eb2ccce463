"""``foresight bench gateway``: what the way through Foresight costs, next to a bare relay and to peers."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmarks.row import Row, Setting


def benchmark(setting: Setting) -> Iterator[Row]:
    """Yield all rows, the quick ones first."""
    from eval.benchmarks.gateway import decisions, engine
    from eval.benchmarks.gateway.rig import servers

    yield from decisions.rows(setting)
    yield from servers.rows(setting)
    yield from engine.rows(setting)
