"""Start everything that is compared: upstream, bare relay, Foresight with keys, ledger and metrics, peers."""

from __future__ import annotations

import json
import resource
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from eval.benchmarks.gateway import clients, endurance
from eval.benchmarks.gateway.rig.peers import PEERS, Peer, command, environment
from eval.benchmarks.gateway.rig.pool import write_pool
from eval.benchmarks.gateway.rig.processes import Process, cores, foresight, free_port, python, running
from eval.benchmarks.gateway.traffic import TIMES, Server
from eval.benchmarks.gateway.traffic import rows as traffic_rows
from eval.benchmarks.row import Row, Setting
from probes.errors import BackendError

HOME = Path(__file__).parent
PEER_READY_S = 300.0


@dataclass
class _Bench:
    """Where processes are started: one core for those that are measured, the rest for the others."""

    folder: Path
    stack: ExitStack

    def start(
        self, name: str, command: list[str], port: int, *, measured: bool = True, **more: object
    ) -> Process:
        own, others = cores()
        context = running(
            command,
            port,
            log=self.folder / f"{name}.log",
            cores=own if measured else others,
            **more,  # type: ignore[arg-type]
        )
        return self.stack.enter_context(context)


def rows(setting: Setting) -> Iterator[Row]:
    """The rows of `traffic`, peers included where their environments can be made."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # this process opens thousands of connections
    with tempfile.TemporaryDirectory(prefix="foresight-bench-") as folder, ExitStack() as stack:
        bench = _Bench(Path(folder), stack)
        port = free_port()
        upstream = bench.start("upstream", python(HOME / "upstream.py", port), port, measured=False)
        port = free_port()
        relay = bench.start("relay", python(HOME / "relay.py", port, upstream.url), port)
        gateway, key = _foresight(bench, upstream.url)
        ways = {
            "Foresight, candidate named": Server(gateway, {"model": "m0"}, key),
            "Foresight, routed, no scout": Server(gateway, {"model": "auto"}, key),
        }
        peers: dict[str, Server] = {}
        for peer in PEERS:
            found = _peer(bench, peer, upstream.url, setting.work)
            if isinstance(found, Server):
                peers[peer.name] = found
            else:
                reach = f">= {TIMES[peer.name]} times"
                yield Row(f"throughput against {peer.name}", reach, f"unmeasured: {found}", None)
        yield from traffic_rows(Server(upstream), Server(relay), ways, peers, setting)
        judged = next(iter(ways.values()))
        yield from clients.rows(judged, setting)
        yield from endurance.rows(judged, setting)


def _foresight(bench: _Bench, upstream: str) -> tuple[Process, str]:
    """A gateway with keys, ledger and metrics, and a key that it accepts."""
    folder = bench.folder
    serve = {"keys": {"file": "keys.yaml"}, "ledger": {"url": "ledger.db"}}
    pool, router = write_pool(folder, upstream, serve)
    made = subprocess.run(
        foresight("keys", "create", "bench", "--file", folder / "keys.yaml", "--json"),
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise BackendError(f"No key could be made: {made.stderr[-300:]}")
    port = free_port()
    words = ("serve", pool, "--router", router, "--scout-mode", "none", "--port", port)
    return bench.start("foresight", foresight(*words), port, ready="/ready"), json.loads(made.stdout)["key"]


def _peer(bench: _Bench, peer: Peer, upstream: str, work: Path) -> Server | str:
    """A peer's server, or why there is none."""
    port = free_port()
    try:
        python = environment(peer, work / "peers")
        words = command(peer, python, upstream, port, bench.folder)
        process = bench.start(
            peer.name.lower(), words, port, ready=peer.ready, env=peer.env, ready_s=PEER_READY_S
        )
    except (BackendError, OSError) as error:
        return str(error)
    return Server(process, {"model": peer.model}, peer.key)
