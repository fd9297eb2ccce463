"""Runs a program that nobody has read: own process group, hard limits, no network where the system allows.

A guard against accidents, such as endless loops and full disks, and against most mischief; no place for code
that is known to be hostile. Where Linux lets a user make namespaces, the program has no network, sees no
other process, and ends with all its children.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

NAMESPACES = ("unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child")
_LAUNCHER = """
import resource, runpy, sys
seconds, memory, size = (int(word) for word in sys.argv[1:4])
for name, limit in (("CPU", seconds), ("AS", memory), ("FSIZE", size), ("NOFILE", 64), ("CORE", 0)):
    resource.setrlimit(getattr(resource, "RLIMIT_" + name), (limit, limit))
sys.argv = [sys.argv[4]]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass(frozen=True)
class Limits:
    """What a program may use.

    Attributes
    ----------
    seconds : int
        Of the clock, and of processor time.
    memory_bytes : int
        Address space.
    output_bytes : int
        Of any file, what it prints included.
    """

    seconds: int = 10
    memory_bytes: int = 2**30
    output_bytes: int = 2**20


@dataclass(frozen=True)
class Ran:
    """How a program ended.

    Attributes
    ----------
    code : int or None
        Exit status, negative for a signal; None: it ran out of time.
    output : str
        What it printed, errors included, as far as the limit goes.
    """

    code: int | None
    output: str


def run_python(program: str, limits: Limits | None = None) -> Ran:
    """Run a Python program in an empty folder without an environment; afterwards its group is gone."""
    limits = limits or Limits()
    with tempfile.TemporaryDirectory(prefix="foresight-code-") as name:
        folder = Path(name)
        (folder / "program.py").write_text(program, encoding="utf-8", errors="replace")
        numbers = (limits.seconds, limits.memory_bytes, limits.output_bytes)
        words = [sys.executable, "-I", "-c", _LAUNCHER, *map(str, numbers), "program.py"]
        printed = folder / "printed"
        with printed.open("wb") as sink:
            process = subprocess.Popen(
                [*NAMESPACES, *words] if isolates() else words,
                cwd=folder,
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        code = _wait(process, limits.seconds)
        return Ran(code, printed.read_bytes()[: limits.output_bytes].decode("utf-8", "replace"))


@cache
def isolates() -> bool:
    """Whether this system gives a program namespaces of its own."""
    try:
        done = subprocess.run([*NAMESPACES, "true"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _wait(process: subprocess.Popen[bytes], seconds: int) -> int | None:
    try:
        return process.wait(seconds + 1)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
