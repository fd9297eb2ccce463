"""What a job adds to vLLM: the same lines by one candidate, through a job and by vLLM's own offline batch."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from eval.benchmarks.batch.jobs import LADDER, POOL, SEED, batch, read_rows, texts, write_lines
from eval.benchmarks.gateway.rig.processes import free_port, running
from eval.benchmarks.row import Row, Setting
from eval.ladder.questions import draw

ROOT = Path(__file__).parents[3]
LAUNCHER = ROOT / "serving" / "vllm" / "launch.py"
LINES, QUICK_LINES, ROUNDS = 400, 40, 1
CANDIDATE, MAX_TOKENS, THINK = "ladder-l:think", 320, "1"
"""The largest model of the ladder: the smaller one is, the more of its time goes into what surrounds it."""
REACH = 0.95
READY_S = 300.0
MODEL = LADDER / "models" / CANDIDATE.partition(":")[0]
ENVIRONMENT = {
    "VLLM_TARGET_DEVICE": "cpu",
    "VLLM_CPU_OMP_THREADS_BIND": "0",  # the core that the pool gives it
    "OMP_NUM_THREADS": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
}
SERVED = (
    *("--served-model-name", MODEL.name, "--dtype", "float32", "--host", "127.0.0.1", "--enforce-eager"),
    *("--max-model-len", "512", "--max-num-seqs", "64", "--block-size", "32"),
    *("--kv-cache-memory-bytes", str(256 << 20), "--disable-uvicorn-access-log"),
)
"""As `offline.py`."""
_RUNNING = re.compile(r"^vllm:num_requests_running\{[^}]*\} (\S+)", re.MULTILINE)


def rows(setting: Setting) -> Iterator[Row]:
    """One row: how much of a job's time its server works, and both times, one round after the other."""
    python = _python()
    what = f"run overhead: the lines of {CANDIDATE} by a job, against vLLM's own offline batch"
    reach = f"the server is busy >= {REACH:.0%} of the job's time (the offline batch's always is)"
    if python is None:
        yield Row(what, reach, "unmeasured: there is no .venv-vllm", None)
        return
    n, rounds = (QUICK_LINES, 1) if setting.quick else (LINES, ROUNDS)
    folder = setting.work / "batch" / f"overhead-{n}"
    folder.mkdir(parents=True, exist_ok=True)
    source = _named(write_lines(draw(n, SEED + 2), folder / "lines.jsonl"))
    found = [_round(python, source, folder) for _ in range(rounds)]
    busy = float(np.concatenate([one.running for one in found]).astype(bool).mean())
    mean = float(np.concatenate([one.running for one in found]).mean())
    pairs = ", ".join(f"{one.offline_s:.1f} / {one.job_s:.1f}" for one in found)
    yield Row(
        what,
        reach,
        f"busy {busy:.1%} of the job's time, {mean:.0f} of 64 places taken on average ({n:,} lines, {rounds}"
        f" rounds); offline / job in s by the clock: {pairs}; {found[-1].same:,} answers the same",
        None if setting.quick else busy >= REACH,
    )


@dataclass(frozen=True)
class _Round:
    """Seconds by the clock, requests that the server had at each look while it was asked, equal answers."""

    offline_s: float
    job_s: float
    running: np.ndarray[Any, Any]
    same: int


def _round(python: Path, source: Path, folder: Path) -> _Round:
    offline = _offline(python, source)
    output = folder / "answers.jsonl"
    shutil.rmtree(output.with_name(output.name + ".job"), ignore_errors=True)
    port = free_port()
    serve = [str(python), "-P", str(LAUNCHER), "serve", str(MODEL), *SERVED, "--port", str(port)]
    everywhere = os.sched_getaffinity(0)
    log = folder / "vllm.log"
    with running(serve, port, log=log, cores=everywhere, env=ENVIRONMENT, ready_s=READY_S) as server:
        look = _Look(f"{server.url}/metrics")
        words = ("-o", output, "--pool", _pool(folder, server.url), "--router", LADDER / "router")
        with ThreadPoolExecutor(1) as thread:
            seen = thread.submit(look.until_stopped)
            summary = batch("run", source, *words, "--policy", "value")
            look.stop.set()
            counts = seen.result()
    asked = np.flatnonzero(counts)
    answers = texts(read_rows(output))
    same = sum(answers[name][1] == text for name, text in offline["texts"].items())
    job_s = float(summary["asking_s"])
    inside = counts[asked[0] : asked[0] + max(1, round(job_s / look.every_s))] if len(asked) else counts
    return _Round(float(offline["seconds"]), job_s, inside, same)


class _Look:
    """Looks how many requests a server works on, so often."""

    every_s = 0.1

    def __init__(self, url: str) -> None:
        self.stop = threading.Event()
        self._url = url

    def until_stopped(self) -> np.ndarray[Any, Any]:
        """The counts, one every `every_s`; a look that took longer counts for the time that it took."""
        counts: list[float] = []
        began = time.monotonic()
        while not self.stop.is_set():
            with urllib.request.urlopen(self._url, timeout=60) as response:
                now = _RUNNING.findall(response.read().decode())
            due = int((time.monotonic() - began) / self.every_s) + 1
            counts += [sum(map(float, now))] * (due - len(counts))
            self.stop.wait(max(0.0, began + due * self.every_s - time.monotonic()))
        return np.array(counts)


def _pool(folder: Path, url: str) -> Path:
    """The pool file with that server behind every candidate; only one of them is asked."""
    settings = yaml.safe_load(POOL.read_text(encoding="utf-8"))
    far = {"kind": "openai", "url": f"{url}/v1"}
    settings["backends"] = dict.fromkeys(settings["backends"], far)
    path = folder / "pool.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def _python() -> Path | None:
    found = os.environ.get("FORESIGHT_VLLM_PYTHON", str(ROOT / ".venv-vllm" / "bin" / "python"))
    return Path(found) if Path(found).is_file() else None


def _named(source: Path) -> Path:
    """The same lines, for one candidate."""
    found = read_rows(source)
    for row in found:
        row["body"]["model"] = CANDIDATE
    source.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return source


def _offline(python: Path, source: Path) -> dict[str, Any]:
    script = Path(__file__).with_name("offline.py")
    words = [str(python), "-P", str(script), str(MODEL), str(source), str(MAX_TOKENS), THINK, str(LAUNCHER)]
    env = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=env)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
