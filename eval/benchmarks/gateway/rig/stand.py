"""Gateways as processes of their own, each with a vLLM server: what a benchmark asks."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from eval.benchmarks.gateway.rig.processes import foresight
from probes.errors import BackendError

START_S = 300.0
"""Longest time from a gateway's start to its first answer."""
STOP_S = 60.0
"""Longest time for a gateway to stop by itself."""


@dataclass(frozen=True)
class Stand:
    """A gateway that runs, and the vLLM server behind it, both as base addresses without `/v1`."""

    gateway: str
    vllm: str


def run(*arguments: str) -> None:
    """Run the command `foresight` to its end.

    Raises
    ------
    BackendError
        If it fails, with the end of what it said.
    """
    done = subprocess.run(foresight(*arguments), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BackendError(f"foresight {arguments[0]} failed: {done.stderr[-500:]}")


@contextmanager
def serving(pool: Path, router: Path, mode: str, logs: Path) -> Iterator[Stand]:
    """A gateway with one vLLM server, once both are ready; stopped at the end.

    Parameters
    ----------
    pool, router
        What to serve.
    mode
        As `--scout-mode`.
    logs
        Folder for the logs of gateway and server.

    Raises
    ------
    BackendError
        If it does not start; the message holds the end of its log.
    """
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / "gateway.log"
    arguments = ("serve", str(pool), "--router", str(router), "--scout-mode", mode, "--port", "0")
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(
            foresight(*arguments, "--logs", str(logs)), stdout=out, stderr=subprocess.STDOUT
        )
    try:
        yield Stand(_address(process, log), vllm_of(process.pid))
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def vllm_of(gateway_pid: int) -> str:
    """Address of the vLLM server that a gateway has started, from that process's command line."""
    for entry in Path("/proc").iterdir():
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            words = (entry / "cmdline").read_bytes().decode().split("\0")
        except (OSError, ValueError, IndexError):
            continue
        if parent == gateway_pid and "serve" in words and "--port" in words:
            return f"http://127.0.0.1:{words[words.index('--port') + 1]}"
    raise BackendError("The gateway has started no vLLM server")


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Where the gateway says that it answers, which it says once everything is up."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text(encoding="utf-8").splitlines():
            if "answers at http" in line:
                return line.split()[-1].removesuffix("/v1")
        time.sleep(0.2)
    raise BackendError(f"The gateway did not start: {log.read_text(encoding='utf-8')[-500:]}")
