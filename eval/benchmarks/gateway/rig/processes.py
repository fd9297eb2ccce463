"""The processes that a measurement needs: started, watched by their own id, and stopped."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import Any

from probes.errors import BackendError

READY_S = 60.0
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """A server and its base URL."""

    process: subprocess.Popen[Any]
    url: str

    @property
    def cpu_s(self) -> float:
        """Processor time that it has used, in seconds."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) * _TICK_S

    def memory_mb(self, peak: bool = False) -> float:
        """Resident memory, in MB (10⁶ bytes): now, or its highest value."""
        label = "VmHWM:" if peak else "VmRSS:"
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(label):
                return int(line.split()[1]) * 1024 / 1e6
        raise BackendError(f"The process {self.process.pid} has ended.")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def cores() -> tuple[set[int], set[int]]:
    """One core for what is measured and the others for upstream and load; the same if there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return ({allowed[0]}, set(allowed[1:])) if len(allowed) > 1 else (set(allowed), set(allowed))


@contextmanager
def running(
    command: Sequence[str],
    port: int,
    *,
    log: Path,
    cores: set[int],
    ready: str = "/v1/models",
    env: Mapping[str, str] | None = None,
    ready_s: float = READY_S,
) -> Iterator[Process]:
    """A server for as long as the context lasts.

    Parameters
    ----------
    command
        What to start.
    port
        Where it will listen.
    log
        File for all it says.
    cores
        The processor cores that it may use.
    ready
        Path that answers once it is ready.
    env
        Further environment variables.
    ready_s
        Longest time until it is ready.

    Raises
    ------
    BackendError
        It did not become ready; its log's end says why.
    """
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
        )
        os.sched_setaffinity(process.pid, cores)
        try:
            _await(process, url + ready, log, ready_s)
            yield Process(process, url)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def python(*words: object) -> list[str]:
    """A command of this Python."""
    return [sys.executable, *(str(word) for word in words)]


def foresight(*words: object) -> list[str]:
    """The command ``foresight`` of this Python."""
    return python("-c", "from router.cli import main; main()", *words)


def _await(process: subprocess.Popen[Any], url: str, log: Path, ready_s: float) -> None:
    until = time.monotonic() + ready_s
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500:
                return
        except OSError:
            pass
        time.sleep(0.05)
    tail = log.read_text(errors="replace")[-600:]
    raise BackendError(f"The server of {log.stem} is not ready: {tail}")
