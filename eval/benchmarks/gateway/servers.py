"""Start everything that is compared: upstream, bare relay, Foresight with keys, ledger and metrics, peers."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import yaml

from eval.benchmarks.gateway.pool import write_pool
from eval.benchmarks.gateway.processes import Process, cores, foresight, free_port, python, running
from eval.benchmarks.gateway.traffic import Server
from eval.benchmarks.gateway.traffic import rows as traffic_rows
from eval.benchmarks.row import Row, Setting
from probes.errors import BackendError

HOME = Path(__file__).parent
PEERS = {"LiteLLM": "litellm", "RouteLLM": "routellm"}
MASTER_KEY = "sk-measured"


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
    """The rows of `traffic`, peers included where they are installed."""
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
        for name in PEERS:
            found = _peer(bench, name, upstream.url, setting.work)
            if isinstance(found, Server):
                peers[name] = found
            else:
                yield Row(f"throughput against {name}", "see issue", f"unmeasured: {found}", None)
        yield from traffic_rows(Server(upstream), Server(relay), ways, peers, setting)


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


def _peer(bench: _Bench, name: str, upstream: str, work: Path) -> Server | str:
    """A peer's server, or why there is none: its environment is looked for at WORK/peers/NAME."""
    environment = work / "peers" / PEERS[name]
    if not any((environment / "lib").glob(f"python*/site-packages/{PEERS[name]}")):
        return f"it is not installed in {environment}"
    port = free_port()
    try:
        if name == "LiteLLM":
            return _litellm(bench, environment, upstream, port)
        return _routellm(bench, environment, upstream, port)
    except (BackendError, OSError) as error:
        return str(error)


def _litellm(bench: _Bench, environment: Path, upstream: str, port: int) -> Server:
    entry = {
        "model_name": "m",
        "litellm_params": {"model": "openai/m", "api_base": f"{upstream}/v1", "api_key": "x"},
    }
    config = bench.folder / "litellm.yaml"
    config.write_text(yaml.safe_dump({"model_list": [entry], "general_settings": {"master_key": MASTER_KEY}}))
    command = [str(environment / "bin" / "litellm"), "--config", str(config), "--port", str(port)]
    env = {"LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    process = bench.start("litellm", command, port, ready="/health/liveliness", env=env)
    return Server(process, {"model": "m"}, MASTER_KEY)


def _routellm(bench: _Bench, environment: Path, upstream: str, port: int) -> Server:
    words = ("-m", "routellm.openai_server", "--routers", "random", "--port", port)
    models = ("--base-url", f"{upstream}/v1", "--api-key", "x", "--strong-model", "m", "--weak-model", "m")
    command = [str(environment / "bin" / "python"), *map(str, (*words, *models))]
    process = bench.start("routellm", command, port, ready="/health", env={"OPENAI_API_KEY": "x"})
    return Server(process, {"model": "router-random-0.5"})
