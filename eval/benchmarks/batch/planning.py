"""How long the plan of a large job takes, and how it grows."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np

from eval.benchmarks.row import Row, Setting
from router.allocation.allocation import Worth, most_accurate

CANDIDATES = 8
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
QUICK = (10_000, 100_000)
REACH_S, REACH_GIB = 10.0, 2.0


def rows(setting: Setting) -> Iterator[Row]:
    """Time and memory of the plan of 10^6 lines, and the exponent of its growth."""
    measured = {n: _apart(n) for n in (QUICK if setting.quick else SIZES)}
    shown = {n: found for n, found in measured.items() if found is not None}
    largest = max(n for n in shown if n <= 1_000_000)
    seconds, gib = shown[largest]
    yield Row(
        f"plan of {largest:,} lines × {CANDIDATES} candidates, scores given",
        f"< {REACH_S:g} s, < {REACH_GIB:g} GiB",
        f"{seconds:.2f} s, {gib:.2f} GiB",
        None if setting.quick else seconds < REACH_S and gib < REACH_GIB,
    )
    slope = float(np.polyfit(np.log10(list(shown)), np.log10([s for s, _ in shown.values()]), 1)[0])
    listed = ", ".join(f"{n:,}: {s:.3g} s, {g:.2f} GiB" for n, (s, g) in shown.items())
    yield Row(
        "growth of the plan",
        "linear",
        f"exponent {slope:.2f} ({listed})",
        None if setting.quick else slope < 1.1,
    )


def _apart(n: int) -> tuple[float, float] | None:
    """Seconds and GiB of one plan in a process of its own; None where the memory does not suffice."""
    code = f"from eval.benchmarks.batch.planning import plan_once; plan_once({n})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    seconds, gib = done.stdout.split()
    return float(seconds), float(gib)


def plan_once(n: int) -> None:
    """Print the seconds of one plan of n drawn lines, and this process's largest memory in GiB."""
    rng = np.random.default_rng(0)
    level, cost_of = np.linspace(0.3, 0.9, CANDIDATES), np.geomspace(1e-5, 1e-3, CANDIDATES)
    success = np.empty((CANDIDATES, n))
    cost = np.empty((CANDIDATES, n))
    ease = rng.random(n)
    for k in range(CANDIDATES):
        success[k] = np.clip(level[k] + 0.3 * (ease - 0.5) + 0.1 * rng.random(n), 0, 1)
        cost[k] = cost_of[k] * (0.5 + rng.random(n))
    worth = Worth(success, cost)
    budget = 0.25 * float(cost[-1].sum())
    began = time.perf_counter()
    most_accurate(worth, budget)
    seconds = time.perf_counter() - began
    sys.stdout.write(f"{seconds} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}\n")
