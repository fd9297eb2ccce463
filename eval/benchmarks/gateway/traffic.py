"""Throughput, added latency and memory of the gateway, next to a bare relay on the same upstream.

All servers run at the same time and are asked in turns, so that whatever else the machine does meets all of
them. Requests per second of a server's own processor time say what it could do on a core of its own, however
busy the machine and however slow the load generator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median

from eval.benchmarks.gateway.load import closed_loop, request_bytes, streams
from eval.benchmarks.gateway.rig.processes import Process
from eval.benchmarks.row import Row, Setting

CONNECTIONS = 64
STREAMS = 1000
IDLE_MB, STREAMS_MB = 150, 300
SHARE, LATENCY_MS = 0.35, 1.0
TIMES = {"LiteLLM": 25, "RouteLLM": 12}
"""How many times a peer's throughput ours should be."""


@dataclass(frozen=True)
class Server:
    """Something that is asked.

    Attributes
    ----------
    process
        It.
    fields
        What its requests say besides the messages.
    key
        Its key, if it wants one.
    """

    process: Process
    fields: Mapping[str, object] = field(default_factory=dict)
    key: str | None = None

    def request(self, **fields: object) -> bytes:
        """A request on the wire."""
        return request_bytes(self.process.url, {"model": "m", **self.fields, **fields}, self.key)


@dataclass
class Rates:
    """Of each server: answers per second, by the clock and of its own processor time, one for each round."""

    clock: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)

    def of(self, name: str) -> float:
        """Median answers per second of processor time."""
        return median(self.cpu[name])


def throughput(servers: Mapping[str, Server], setting: Setting) -> Rates:
    """Ask each server with 64 connections, in turns."""
    rounds, seconds = (1, 1.5) if setting.quick else (5, 5.0)
    rates = Rates()
    for server in servers.values():
        asyncio.run(closed_loop(server.process.url, server.request(), CONNECTIONS, 0.5))
    for _ in range(rounds):
        for name, server in servers.items():
            before = server.process.cpu_s
            outcome = asyncio.run(closed_loop(server.process.url, server.request(), CONNECTIONS, seconds))
            spent = server.process.cpu_s - before
            rates.clock.setdefault(name, []).append(outcome.per_second)
            rates.cpu.setdefault(name, []).append(len(outcome.latencies_s) / spent)
            rates.lost[name] = rates.lost.get(name, 0) + outcome.lost
    return rates


def latency(servers: Mapping[str, Server], setting: Setting) -> dict[str, tuple[float, float]]:
    """Median and 99th percentile of each server's latency at one connection, in ms; asked in turns."""
    rounds, seconds = (2, 0.5) if setting.quick else (10, 1.0)
    seen: dict[str, list[float]] = {name: [] for name in servers}
    for _ in range(rounds):
        for name, server in servers.items():
            outcome = asyncio.run(closed_loop(server.process.url, server.request(), 1, seconds))
            seen[name] += outcome.latencies_s
    told = {}
    for name, values in seen.items():
        values.sort()
        told[name] = (1000 * values[len(values) // 2], 1000 * values[int(len(values) * 0.99)])
    return told


def rows(
    upstream: Server,
    relay: Server,
    gateways: Mapping[str, Server],
    peers: Mapping[str, Server],
    setting: Setting,
) -> Iterator[Row]:
    """All rows; `gateways` are the ways through Foresight, the first of them is the one that is judged."""
    idle_mb = next(iter(gateways.values())).process.memory_mb()
    others = "".join(f"; {name} {peer.process.memory_mb():.0f} MB" for name, peer in peers.items())
    yield Row(
        "memory of one gateway process, idle, keys and ledger on",
        f"<= {IDLE_MB} MB",
        f"{idle_mb:.0f} MB{others}",
        idle_mb <= IDLE_MB,
    )
    servers = {"relay": relay, **gateways, **peers}
    rates = throughput(servers, setting)
    for name in gateways:
        yield _throughput_row(name, rates)
    for name in peers:
        yield _peer_row(name, next(iter(gateways)), rates)
    yield from _latency_rows({"upstream": upstream, **servers}, list(gateways), setting)
    yield from _stream_rows(upstream, next(iter(gateways.values())), setting)


def _throughput_row(name: str, rates: Rates) -> Row:
    ours, floor = rates.of(name), rates.of("relay")
    clock, floor_clock = median(rates.clock[name]), median(rates.clock["relay"])
    measured = (
        f"{ours / floor:.2f} of the relay: {ours:,.0f} and {floor:,.0f} answers a second of their own "
        f"processor time ({1000 / ours:.2f} and {1000 / floor:.2f} ms each); by the clock {clock:,.0f} and "
        f"{floor_clock:,.0f} a second, {rates.lost[name]} lost"
    )
    what = f"throughput at {CONNECTIONS} concurrent, {name}"
    return Row(
        what, f">= {SHARE} of a bare ASGI relay", measured, ours >= SHARE * floor and not rates.lost[name]
    )


def _peer_row(name: str, ours: str, rates: Rates) -> Row:
    times = rates.of(ours) / rates.of(name)
    reach = TIMES[name]
    clock = median(rates.clock[ours]) / median(rates.clock[name])
    measured = (
        f"{times:.0f} times ({rates.of(name):,.0f} answers a second of its processor time); by the clock "
        f"{clock:.0f} times ({median(rates.clock[name]):,.0f} a second), {rates.lost[name]} lost"
    )
    return Row(f"throughput, {ours}, against {name}", f">= {reach} times", measured, times >= reach)


def _latency_rows(servers: Mapping[str, Server], gateways: list[str], setting: Setting) -> Iterator[Row]:
    seen = latency(servers, setting)
    direct50, direct99 = seen["upstream"]
    relay = f"the relay adds {seen['relay'][0] - direct50:.2f} ms"
    for name in [*gateways, *(n for n in servers if n not in {"upstream", "relay", *gateways})]:
        p50, p99 = seen[name]
        added = p50 - direct50
        measured = f"{added:.2f} ms (99th percentile {p99 - direct99:.2f} ms; {relay})"
        met = added <= LATENCY_MS if name in gateways else None
        yield Row(f"added latency at 1 concurrent, median, {name}", f"<= {LATENCY_MS:g} ms", measured, met)


def _stream_rows(upstream: Server, gateway: Server, setting: Setting) -> Iterator[Row]:
    n = 200 if setting.quick else STREAMS
    paced = {"stream": True, "user": "paced"}
    direct = asyncio.run(streams(upstream.process.url, upstream.request(**paced), n))
    through = asyncio.run(streams(gateway.process.url, gateway.request(**paced), n))
    peak_mb = gateway.process.memory_mb(peak=True)
    yield Row(
        f"{n:,} concurrent SSE streams",
        f"none lost, memory <= {STREAMS_MB} MB",
        f"{through.lost} lost, highest memory {peak_mb:.0f} MB",
        through.lost == 0 and peak_mb <= STREAMS_MB,
    )
    gaps = [1000 * median(outcome.gaps_s) for outcome in (direct, through)]
    slow = [1000 * sorted(outcome.gaps_s)[int(len(outcome.gaps_s) * 0.99)] for outcome in (direct, through)]
    yield Row(
        f"time between chunks, {n:,} streams",
        "not visibly (20 ms at the median) above direct",
        f"median {gaps[1]:.0f} ms, 99th percentile {slow[1]:.0f} ms; "
        f"direct {gaps[0]:.0f} and {slow[0]:.0f} ms",
        gaps[1] - gaps[0] <= 20,
    )
