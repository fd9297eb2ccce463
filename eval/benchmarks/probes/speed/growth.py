"""How fitting grows with candidates, queries and width, against the operations that it needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from time import process_time

import numpy as np

from eval.benchmarks.row import Row, Setting
from eval.pictures import svg
from eval.pictures.plots import write_frontier
from probes.estimators.bank import ProbeBank
from probes.estimators.blend import FULL_ROWS
from probes.estimators.blend import PASSES as BLENDED
from probes.estimators.solving.logistic import sigmoid
from probes.estimators.solving.network import WIDTHS
from probes.estimators.solving.regression import STRENGTHS
from probes.estimators.trunk import LEADING
from probes.estimators.waves import MAX_RANK

ALLOWED = 1.25
"""How much more than the operations the time may grow over a sweep's last step: a busy machine's noise."""
RANK, SKETCH, PASSES, WAVES = 512, 544, 3, 512
"""Coordinates kept, columns and passes of their randomised decomposition, and waves that are tried."""
TRUNK_PASSES, TRUNK_WEIGHTS = BLENDED[0], LEADING * WIDTHS[0] + WIDTHS[0] * WIDTHS[1]
"""Passes that the networks take where they are no great gain, and weights of one."""
FOLDS, STEPS = 5, 6
"""Folds, and conjugate gradient steps of a solution (about)."""
WHAT = "growth of the fit: candidates 2…64, queries 10³…10⁵, width 384…8,192"
REACH = "as the operations: O(n F r) + O(n (r + M)²) + O(n r K) + O(n K²) + nets; r = min(n, F, 512)"


@dataclass(frozen=True)
class Size:
    """Queries, width and candidates of a fit."""

    n: int
    width: int
    candidates: int

    def operations(self) -> float:
        """Floating point operations of a fit, leading terms.

        Decomposition of the features (exact up to 1,024 of the smaller side, randomised beyond), the
        features' coordinates, ridge regressions for every strength, fold and candidate by conjugate
        gradients, and the directions' factors at every strength; the last two again with waves, after a Gram
        matrix of both and its turn; forward and twice back through a network for every fold and for all rows.
        """
        n, width, k = float(self.n), float(self.width), float(self.candidates)
        small = min(n, width)
        exact = small <= 2 * RANK
        rank = small if exact else RANK
        found = 2 * n * width * small + 10 * small**3 if exact else 4 * PASSES * n * width * SKETCH
        both = rank + WAVES
        turned = 2 * n * both * both + 10 * both**3 + 2 * n * both * MAX_RANK
        solved = len(STRENGTHS) * (FOLDS + 1) * STEPS * 4 * n * (rank + min(both, MAX_RANK)) * k
        learnt = 6 * (FOLDS + 1) * TRUNK_PASSES * min(n, FULL_ROWS) * TRUNK_WEIGHTS
        return found + 2 * n * width * rank + turned + solved + 2 * len(STRENGTHS) * 6 * n * k * k + learnt


SWEEPS = {
    "candidates": [Size(4000, 768, k) for k in (2, 4, 8, 16, 32, 64)],
    "queries": [Size(n, 384, 8) for n in (1000, 3000, 10_000, 30_000, 100_000)],
    "width": [Size(3000, width, 8) for width in (384, 768, 1536, 3072, 8192)],
}
AXES = {"candidates": "candidates", "queries": "n", "width": "width"}


def rows(setting: Setting) -> Iterator[Row]:
    """Time the sweeps and draw them."""
    seconds, worst = {}, {}
    for name, sizes in SWEEPS.items():
        used = [replace(size, n=min(size.n, 10_000)) for size in sizes[:3]] if setting.quick else sizes
        seconds[name] = [fit_seconds(size) for size in used]
        growth = seconds[name][-1] / seconds[name][-2]
        worst[name] = growth / (used[-1].operations() / used[-2].operations())
    path = setting.work / "growth.svg"
    write_frontier(path, growth_picture(seconds))
    shown = "; ".join(
        f"{name} {_extent(name, len(taken))}: {taken[0]:.2g} → {taken[-1]:.2g} s of processor time, "
        f"last step {worst[name]:.2f} of the operations' growth"
        for name, taken in seconds.items()
    )
    met = max(worst.values()) <= ALLOWED
    yield Row(WHAT, REACH, f"{shown}; drawn in {path.name}", None if setting.quick else met)


def fit_seconds(size: Size) -> float:
    """Processor time of one fit to random activations of which a few directions matter; the best of two."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((size.n, size.width), dtype=np.float32)
    features *= np.geomspace(10, 0.1, size.width, dtype=np.float32)
    logits = features[:, :1] / 5 + rng.normal(size=(1, size.candidates)) * features[:, 1:2] / 10
    correct = (rng.random(logits.shape) < sigmoid(logits)).astype(float)
    taken = []
    for _ in range(1 if size.n * size.width > 3e7 else 2):
        start = process_time()
        ProbeBank().fit(features, correct, groups=np.arange(size.n))
        taken.append(process_time() - start)
    return min(taken)


def growth_picture(seconds: Mapping[str, Sequence[float]]) -> str:
    """Three panels on logarithmic axes: measured seconds, and the operations scaled to the last point."""
    parts = [
        svg.text(24, 30, "Fitting the probe bank", "title"),
        svg.text(24, 50, "solid: processor seconds; dashed: operations, scaled to the last point", "soft"),
    ]
    for panel, (name, taken) in enumerate(seconds.items()):
        parts += _panel(name, list(taken), 70 + 290 * panel)
    scale = svg.Scale(0, 1, 0, 1)
    return svg.Chart(900, 360, scale, scale, parts).render("Fitting time by size", css=svg.stylesheet())


def _panel(name: str, taken: list[float], left: int) -> list[str]:
    sizes = SWEEPS[name][: len(taken)]
    xs = [float(getattr(size, AXES[name])) for size in sizes]
    theory = [size.operations() * taken[-1] / sizes[-1].operations() for size in sizes]
    low, high = min(taken + theory) / 1.3, max(taken + theory) * 1.3
    chart = svg.Chart(
        900,
        360,
        svg.Scale(xs[0], xs[-1], left, left + 210, log=True),
        svg.Scale(low, high, 290, 90, log=True),
    )
    across = [_short(value) for value in chart.x.ticks()]
    chart.axes(name, "seconds", across, [f"{value:g}" for value in chart.y.ticks()])
    chart.line(xs, theory, "stroke-soft dash")
    chart.line(xs, taken, "stroke-main thick")
    for x, value in zip(xs, taken, strict=True):
        chart.dot(x, value, "fill-main", f"{value:.2f} s at {x:,.0f}", 3.5)
    return chart.parts


def _short(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def _extent(name: str, count: int) -> str:
    sizes = SWEEPS[name][:count]
    return f"{getattr(sizes[0], AXES[name]):,}–{getattr(sizes[-1], AXES[name]):,}"
