"""Ray over real vLLM: one worker, two, and two of which one is killed, beside the engine `local`.

Ray takes the machine's own network address whatever it is told, so it runs in a network namespace of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from eval.benchmarks.batch.jobs import LADDER, POOL, SEED, batch, read_rows, texts, write_lines
from eval.benchmarks.gateway.rig.processes import foresight
from eval.benchmarks.row import Row, Setting
from eval.ladder.questions import draw
from probes.errors import BackendError

LINES, QUICK_LINES = 300, 40
BUDGET_USD_PER_LINE = 8e-7
MODEL = "ladder-s"
"""Its two candidates: each worker has a vLLM server of every model, and the machine has two cores."""
OWN_NETWORK = ("unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


def rows(setting: Setting) -> Iterator[Row]:
    """A row for one worker, for two, and for two of which one dies."""
    if not _allowed():
        why = "unmeasured: unshare -n is not permitted"
        yield Row("Ray with 1 and 2 workers", "the same answers as local", why, None)
        return
    n = QUICK_LINES if setting.quick else LINES
    folder = setting.work / "batch" / f"ray-{n}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    source = write_lines(draw(n, SEED + 3), folder / "lines.jsonl")
    pool = _small_pool(folder)
    words = (source, "--pool", pool, "--router", LADDER / "router", "--budget", BUDGET_USD_PER_LINE * n)
    calm = batch("run", *words, "-o", folder / "local.jsonl")
    expected = texts(read_rows(folder / "local.jsonl"))
    for workers, kill in ((2, True),) if setting.quick else ((1, False), (2, False), (2, True)):
        output = folder / f"ray-{workers}-{kill}.jsonl"
        summary = _on_ray(("batch", "run", *words, "-o", output), workers, output if kill else None)
        found = texts(read_rows(output))
        same = sum(found.get(name) == answer for name, answer in expected.items())
        chosen = sum(found.get(name, ("",))[0] == answer[0] for name, answer in expected.items())
        yield Row(
            f"Ray, {workers} workers{', one killed' if kill else ''}: {n} lines of {MODEL} over vLLM",
            "the same answers as local",
            f"{same} of {n} the same ({chosen} by the same candidate); {summary['asking_s']:.1f} s of asking,"
            f" local {calm['asking_s']:.1f} s: speed-up {calm['asking_s'] / summary['asking_s']:.2f}",
            same == n == summary["answered"],
        )


def _allowed() -> bool:
    try:
        return subprocess.run([*OWN_NETWORK, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def _small_pool(folder: Path) -> Path:
    """The pool file with the candidates of one model."""
    settings = yaml.safe_load(POOL.read_text(encoding="utf-8"))
    settings["candidates"] = [entry for entry in settings["candidates"] if entry["model"] == MODEL]
    used = {entry["backend"] for entry in settings["candidates"]}
    settings["backends"] = {name: entry for name, entry in settings["backends"].items() if name in used}
    settings["scout"]["safe_candidate"] = settings["candidates"][-1]["name"]
    path = folder / "pool.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def _on_ray(words: tuple[object, ...], workers: int, kill: Path | None) -> dict[str, Any]:
    """Run a job on Ray; with an output in `kill`, one worker is killed once a quarter of it is answered."""
    more = ("--engine", "ray", "--workers", workers, "--json")
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as short:  # its sockets need a short path
        child = subprocess.Popen(
            [*OWN_NETWORK, *foresight(*words, *more)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "RAY_TMPDIR": short},
        )
        if kill is not None:
            _kill_one(child, kill.with_name(kill.name + ".job") / "journal.jsonl")
        out, err = child.communicate()
    if child.returncode:
        raise BackendError(f"foresight batch run on Ray failed: {err[-800:]}")
    found: dict[str, Any] = json.loads(out)
    return found


def _kill_one(child: subprocess.Popen[str], journal: Path) -> None:
    while child.poll() is None:
        if journal.exists() and journal.read_bytes().count(b"\n") > 8 and (found := _workers(child.pid)):
            os.kill(found[0], signal.SIGKILL)
            return
        time.sleep(0.05)


def _workers(root: int) -> list[int]:
    """Processes of replicas below a process, read from /proc."""
    parents: dict[int, int] = {}
    named: list[int] = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if b"ray::Replica" in (path / "cmdline").read_bytes():
                named.append(int(path.name))
        except OSError:
            continue
    return [pid for pid in named if _is_below(pid, root, parents)]


def _is_below(pid: int, root: int, parents: dict[int, int]) -> bool:
    while pid > 1:
        if pid == root:
            return True
        pid = parents.get(pid, 0)
    return False
