"""What must not break: thousands of connections, a reload under load, memory over many requests."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from urllib.parse import urlsplit

from eval.benchmarks.gateway.load import closed_loop
from eval.benchmarks.gateway.traffic import CONNECTIONS, Server
from eval.benchmarks.row import Row, Setting

IDLE, REQUESTS, SETTLED = 5000, 100_000, 20_000
GROWTH_MB = 5.0
"""What allocators may keep back between two looks, in MB."""


def rows(gateway: Server, setting: Setting) -> Iterator[Row]:
    """All rows, of one gateway with keys, ledger and metrics."""
    yield asyncio.run(_crowd(gateway, IDLE // 10 if setting.quick else IDLE))
    yield asyncio.run(_reloaded(gateway, 2.0 if setting.quick else 6.0))
    yield _flat(gateway, 5000 if setting.quick else REQUESTS, 2000 if setting.quick else SETTLED)


async def _crowd(gateway: Server, n: int) -> Row:
    """Many connections that say nothing, and a load beside them."""
    place = urlsplit(gateway.process.url)
    held = []
    try:
        for _ in range(n):
            held.append(await asyncio.open_connection(place.hostname, place.port))
        outcome = await closed_loop(gateway.process.url, gateway.request(), CONNECTIONS, 2.0)
    finally:
        for _, writer in held:
            writer.close()
    return Row(
        f"{n:,} connections that say nothing, {CONNECTIONS} more that ask",
        "nothing lost",
        f"{outcome.lost} of {len(outcome.latencies_s) + outcome.lost:,} lost, median "
        f"{outcome.percentile_ms(50):.0f} ms; memory {gateway.process.memory_mb():.0f} MB",
        outcome.lost == 0,
    )


async def _reloaded(gateway: Server, seconds: float) -> Row:
    """Pool and router read again (SIGHUP), again and again, while requests come."""

    times = int(seconds)

    async def reload() -> None:
        for _ in range(times):
            await asyncio.sleep(0.9)
            gateway.process.process.send_signal(signal.SIGHUP)

    outcome, _ = await asyncio.gather(
        closed_loop(gateway.process.url, gateway.request(), CONNECTIONS, seconds), reload()
    )
    return Row(
        f"pool and router reloaded {times} times under {CONNECTIONS} concurrent requests",
        "nothing lost",
        f"{outcome.lost} of {len(outcome.latencies_s) + outcome.lost:,} lost",
        outcome.lost == 0,
    )


def _flat(gateway: Server, n: int, settled: int) -> Row:
    """Memory after many requests against memory after the first of them."""
    answered = lost = 0
    before_mb = 0.0
    while answered < n:
        outcome = asyncio.run(closed_loop(gateway.process.url, gateway.request(), CONNECTIONS, 1.0))
        answered, lost = answered + len(outcome.latencies_s), lost + outcome.lost
        if not before_mb and answered >= settled:
            before_mb = gateway.process.memory_mb()
    grown_mb = gateway.process.memory_mb() - before_mb
    return Row(
        f"memory over {n:,} requests, the first {settled:,} apart",
        f"flat (<= {GROWTH_MB:g} MB)",
        f"{before_mb:.0f} MB {grown_mb:+.1f} MB, {lost} lost",
        grown_mb <= GROWTH_MB and not lost,
    )
