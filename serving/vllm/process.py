"""One vLLM server: start it, know when it is ready, stop it without leaving anything behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from probes.errors import BackendError
from serving.vllm.environment import VllmEnvironment
from serving.vllm.flags import ServerOptions, command_line, environment_variables

POLL_S = 0.2
GROUP_GRACE_S = 1.0
"""Time for the rest of the process group to follow its first process, in seconds."""
TAIL_LINES = 15
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# `(EngineCore pid=7) ERROR 11-21 03:02:53 [core.py:1] ValueError: ...` or `vllm serve: error: ...`: what
# follows the prefix. vLLM reports the root cause first and its consequences after it.
_CAUSE = re.compile(
    r"^(?:\(.*?\] )?((?:[\w.]+(?:Error|Exception)|vllm[\w ]*: error): .*(?:\n  \S.*)?)", re.MULTILINE
)
_LAUNCHER = Path(__file__).with_name("launch.py")
# The server is on this machine: a proxy from the environment must not stand in between.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nothing listens on at this moment."""
    with socket.socket() as listener:
        listener.bind((host, 0))
        port: int = listener.getsockname()[1]
        return port


class VllmServer:
    """A vLLM server in a process group of its own.

    Use it as a context manager, sync or async, or call :meth:`start` and :meth:`stop`. Several servers start
    side by side with `asyncio.gather`. The server ends with this process, even if that is killed: it holds
    the far end of a pipe whose near end is here (see launch.py).

    Parameters
    ----------
    options
        What to serve.
    log_path
        File that the server's output goes to; it is written anew at each start.
    environment
        vLLM's Python environment; None finds it.
    ready_timeout_s
        Longest time from the start to the first request that can be answered, in seconds.

    Examples
    --------
    >>> options = ServerOptions("models/tiny", name="tiny", port=free_port())  # doctest: +SKIP
    >>> with VllmServer(options, log_path=Path("vllm.log")) as server:  # doctest: +SKIP
    ...     print(server.url)
    """

    def __init__(
        self,
        options: ServerOptions,
        *,
        log_path: Path,
        environment: VllmEnvironment | None = None,
        ready_timeout_s: float = 300.0,
    ) -> None:
        self.options = options
        self.environment = environment or VllmEnvironment.find()
        self.log_path = log_path
        self.ready_timeout_s = ready_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._deadline = 0.0

    @property
    def url(self) -> str:
        """Base address, without `/v1`."""
        return f"http://{self.options.host}:{self.options.port}"

    @property
    def pid(self) -> int | None:
        """Process id, which is its process group's as well; None if it was not started or is stopped."""
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        """Whether the process lives; it may not be ready yet."""
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Start the server and return when it answers requests.

        Raises
        ------
        ConfigError
            If there is no model at the path.
        BackendError
            If the server ends before it is ready, is too slow, or the port is taken; the message says why, as
            the log does. Nothing is left running, also if this call is cancelled.
        """
        await asyncio.to_thread(self._spawn)
        try:
            while not await asyncio.to_thread(self._ready):
                await asyncio.sleep(POLL_S)
        except BaseException:
            await asyncio.shield(self.stop())
            raise

    async def stop(self, grace_s: float = 10.0) -> None:
        """Stop the server and all its processes; doing so twice is fine.

        Parameters
        ----------
        grace_s
            Time between asking (SIGTERM) and ending (SIGKILL), in seconds.
        """
        await asyncio.to_thread(self._stop, grace_s)

    def log_tail(self, n_lines: int = TAIL_LINES) -> str:
        """The last lines of the server's log, without colours; empty if there is none."""
        if not self.log_path.is_file():
            return ""
        text = _COLOUR.sub("", self.log_path.read_text(errors="replace"))
        return "\n".join(text.strip().splitlines()[-n_lines:])

    def __enter__(self) -> Self:
        self._spawn()
        try:
            while not self._ready():
                time.sleep(POLL_S)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _spawn(self) -> None:
        if self._process is not None:
            raise BackendError(f"The server of {self.options.name!r} is already started")
        if _somebody_listens(self.options.host, self.options.port):
            raise BackendError(
                f"Port {self.options.port} is taken, so that vLLM cannot serve {self.options.name!r} there",
                param="port",
                hint="Choose another port, or stop what listens on it.",
            )
        device = self.environment.device
        command = [str(self.environment.python), "-P", str(_LAUNCHER), *command_line(self.options, device)]
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment_variables(self.options, device),
                start_new_session=True,
            )
        self._deadline = time.monotonic() + self.ready_timeout_s

    def _ready(self) -> bool:
        """Whether the server answers; an error if it never will."""
        name = self.options.name
        if not self.running:
            status = self._process.returncode if self._process else None
            raise self._failure(f"vLLM ended with status {status} before it could serve {name!r}")
        if self._answers():
            return True
        if time.monotonic() > self._deadline:
            raise self._failure(f"vLLM was not ready to serve {name!r} within {self.ready_timeout_s:.0f} s")
        return False

    def _answers(self) -> bool:
        """Whether the port answers with our model (asking for its name rules out somebody else's server)."""
        try:
            with _DIRECT.open(f"{self.url}/health", timeout=2):
                pass
            with _DIRECT.open(f"{self.url}/v1/models", timeout=2) as response:
                served = json.load(response)["data"]
        except urllib.error.HTTPError as error:
            return error.code == 401  # an API key was set by further flags: somebody answers, that is enough
        except (OSError, ValueError, KeyError):
            return False
        return any(model["id"] == self.options.name for model in served)

    def _failure(self, what: str) -> BackendError:
        """An error that says what happened and why: the log's first error, or else its end."""
        log = _COLOUR.sub("", self.log_path.read_text(errors="replace"))
        cause = _CAUSE.search(log)
        why = cause.group(1) if cause else f"its output ends:\n{self.log_tail()}"
        return BackendError(f"{what}: {why}", hint=f"All of its output: {self.log_path}")

    def _stop(self, grace_s: float = 10.0) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        # The first process ends its own children; whatever is left of the group afterwards is ended here.
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
        deadline = time.monotonic() + GROUP_GRACE_S
        while time.monotonic() < deadline and _signal_group(process.pid, 0):
            time.sleep(0.05)
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin:
            process.stdin.close()


def _signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group (0 only asks); False if nothing is left of it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def _somebody_listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False
