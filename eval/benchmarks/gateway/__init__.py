"""``foresight bench gateway``: what the way through Foresight costs, next to a bare relay and to peers."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from eval.benchmarks.row import Row, Setting


def benchmark(setting: Setting) -> Iterator[Row]:
    """Yield all rows, the quick ones first."""
    from eval.benchmarks.gateway import decisions, servers

    yield from decisions.rows(setting)
    yield from servers.rows(setting)
    if find_spec("eval.benchmarks.gateway.engine") is not None:
        from eval.benchmarks.gateway import engine

        yield from engine.rows(setting)
