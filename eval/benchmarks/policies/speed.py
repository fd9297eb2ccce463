"""``foresight evaluate`` as a user starts it: how long, and how much memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from eval.benchmarks.row import Row, Setting

SECONDS, GIB = 180.0, 4.0


def rows(setting: Setting) -> Iterator[Row]:
    """One row on mmlu_pro with all quick routers, 5 splits and 1,000 bootstraps, activations cached."""
    folder = setting.outcome_set("mmlu_pro")
    what = "foresight evaluate, mmlu_pro (9,600 × 28, default routers, 5 splits, 1,000 bootstraps), 2 cores"
    reach = "< 3 minutes, < 4 GiB"
    if folder is None or setting.quick:
        yield Row(what, reach, "unmeasured: needs mmlu_pro and no --quick", None)
        return
    cache = setting.work / "activations"
    _run(folder, cache, ["--routers", "knn", "--seeds", "1"])  # reads the prompts once
    seconds, gib = _run(folder, cache, [])
    yield Row(what, reach, f"{seconds:.0f} s, {gib:.1f} GiB", seconds < SECONDS and gib < GIB)


def _run(folder: Path, cache: Path, more: list[str]) -> tuple[float, float]:
    """Seconds and the most memory, in GiB, of one run."""
    words = [str(Path(sys.executable).with_name("foresight")), "evaluate", str(folder), "--scout", "minilm"]
    words += ["--cache", str(cache), "--json", "-", *more]
    began = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "2"})
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"foresight evaluate ended with code {process.returncode}.")
    return time.perf_counter() - began, used.ru_maxrss / 2**20
