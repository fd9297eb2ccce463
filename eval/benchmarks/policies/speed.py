"""``foresight evaluate`` as a user starts it: how long, and how much memory all of its processes hold."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from eval.benchmarks.row import Row, Setting

SECONDS, GIB = 180.0, 4.0
EVERY_S = 0.25
"""Between two looks at the memory."""
COMPARED = {"default": [], "all": ["--routers", "all"]}
"""Which routers, and what says so on the command line; `all` adds the four of the literature."""


def rows(setting: Setting) -> Iterator[Row]:
    """mmlu_pro, 5 splits and 1,000 bootstraps, activations cached."""
    folder = setting.outcome_set("mmlu_pro")
    reach = "< 3 minutes, < 4 GiB"
    cache = setting.work / "activations"
    if folder is not None and not setting.quick:
        run(folder, cache, ["--routers", "knn", "--seeds", "1"])  # reads the prompts once
    for which, words in COMPARED.items():
        what = (
            f"foresight evaluate, mmlu_pro (9,600 × 28, {which} routers, 5 splits, 1,000 bootstraps), 2 cores"
        )
        if folder is None or setting.quick:
            yield Row(what, reach, "unmeasured: needs mmlu_pro and no --quick", None)
            continue
        seconds, gib = run(folder, cache, words)
        yield Row(what, reach, f"{seconds:.0f} s, {gib:.1f} GiB", seconds < SECONDS and gib < GIB)


def run(outcomes: Path, cache: Path, more: list[str]) -> tuple[float, float]:
    """Seconds of one comparison on two cores, and the most memory, in GiB, of its processes together."""
    words = [str(Path(sys.executable).with_name("foresight")), "evaluate", str(outcomes), "--scout", "minilm"]
    words += ["--cache", str(cache), "--json", "-", *more]
    began, most = time.perf_counter(), 0.0
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        os.sched_setaffinity(process.pid, sorted(os.sched_getaffinity(0))[:2])
        while process.poll() is None:
            most = max(most, sum(_held_gib(pid) for pid in _tree(process.pid)))
            time.sleep(EVERY_S)
    if process.returncode != 0:
        raise RuntimeError(f"foresight evaluate ended with code {process.returncode}.")
    return time.perf_counter() - began, most


def _tree(pid: int) -> list[int]:
    """A process and all that came from it."""
    try:
        found = [
            int(child) for each in Path(f"/proc/{pid}/task").glob("*/children") for child in _words(each)
        ]
    except OSError:
        return []
    return [pid, *(one for child in found for one in _tree(child))]


def _held_gib(pid: int) -> float:
    """Memory of one process; what several share counts for each by its part."""
    lines = _words(Path(f"/proc/{pid}/smaps_rollup"))
    return int(lines[lines.index("Pss:") + 1]) / 2**20 if "Pss:" in lines else 0.0


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:  # it has ended meanwhile
        return []
