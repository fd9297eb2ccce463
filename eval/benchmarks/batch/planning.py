"""How long the plan of a large job takes, and how it grows."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping

import numpy as np

from eval.benchmarks.row import Row, Setting
from eval.pictures import svg
from eval.pictures.plots import write_frontier
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
        f"{seconds:.2f} s of one core, {gib:.2f} GiB",
        None if setting.quick else seconds < REACH_S and gib < REACH_GIB,
    )
    slope = float(np.polyfit(np.log10(list(shown)), np.log10([s for s, _ in shown.values()]), 1)[0])
    path = setting.work / "batch" / "plan-growth.svg"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_frontier(path, _picture({n: s for n, (s, _) in shown.items()}))
    listed = ", ".join(f"{n:,}: {s:.3g} s, {g:.2f} GiB" for n, (s, g) in shown.items())
    yield Row(
        "growth of the plan",
        "linear",
        f"exponent {slope:.2f} ({listed})",
        None if setting.quick else slope < 1.1,
    )


def _picture(seconds: Mapping[int, float]) -> str:
    """Seconds by lines on logarithmic axes, and a line of slope one through the last point."""
    xs, ys = [float(n) for n in seconds], list(seconds.values())
    straight = [ys[-1] * x / xs[-1] for x in xs]
    low, high = min(ys + straight) / 1.5, max(ys + straight) * 1.5
    scales = svg.Scale(xs[0], xs[-1], 80, 550, log=True), svg.Scale(low, high, 310, 70, log=True)
    chart = svg.Chart(600, 370, *scales)
    across = ["" if f"{value:.0e}"[0] != "1" else f"{value:,.0f}" for value in scales[0].ticks()]
    chart.axes("lines", "", across, [f"{value:g}" for value in scales[1].ticks()])
    chart.line(xs, straight, "stroke-soft dash")
    chart.line(xs, ys, "stroke-main thick")
    for x, y in zip(xs, ys, strict=True):
        chart.dot(x, y, "fill-main", f"{y:.3g} s for {x:,.0f} lines", 3.5)
    chart.add(svg.text(24, 30, f"Plan of a job, {CANDIDATES} candidates", "title"))
    chart.add(svg.text(24, 50, "solid: processor seconds; dashed: proportional to lines", "soft"))
    return chart.render("Time of a plan by lines", css=svg.stylesheet())


def _apart(n: int) -> tuple[float, float] | None:
    """Seconds and GiB of one plan in a process of its own; None where the memory does not suffice."""
    code = f"from eval.benchmarks.batch.planning import plan_once; plan_once({n})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    seconds, gib = done.stdout.split()
    return float(seconds), float(gib)


def plan_once(n: int) -> None:
    """Print the processor seconds of one plan of n drawn lines, and this process's largest memory in GiB."""
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
    began = time.process_time()
    most_accurate(worth, budget)
    seconds = time.process_time() - began
    sys.stdout.write(f"{seconds} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}\n")
