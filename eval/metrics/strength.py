"""RouteLLM's metrics: how much of the way from the weak to the strong model is bought at what price.

RouteLLM (arXiv 2406.18665, evals/evaluate.py) has two models and puts the share of strong calls on the
x axis. For any pool: weak is the cheapest candidate, strong the best one, and x is the share of the cost
between them, ``(c - c_weak) / (c_strong - c_weak)`` — the same number when there are two and each costs
the same on every query.
"""

from __future__ import annotations

import numpy as np

from eval.metrics.curves import Curve, Singles
from eval.tables import Floats


def cpt(curve: Curve, singles: Singles, share: float) -> float:
    """Call-performance threshold: cost share at which `share` of the accuracy gap is recovered.

    The first crossing along ascending cost, linear between points; NaN where it is never reached or the
    best candidate is also the cheapest.
    """
    x, accuracy = _normalised(curve, singles)
    weak, strong = singles.accuracy[singles.cheapest], singles.accuracy[singles.best]
    target = weak + share * (strong - weak)
    reached = np.flatnonzero(accuracy >= target)
    if np.isnan(x[0]) or not reached.size:
        return float("nan")
    after = int(reached[0])
    if after == 0 or accuracy[after] == target:
        return float(x[after])
    step = (target - accuracy[after - 1]) / (accuracy[after] - accuracy[after - 1])
    return float(x[after - 1] + step * (x[after] - x[after - 1]))


def apgr(curve: Curve, singles: Singles) -> float:
    """Average performance gap recovered: ``(AUC - weak) / (strong - weak)``, AUC over x in [0, 1].

    A random mixture of weak and strong has one half. NaN where the best candidate is also the cheapest.
    """
    x, accuracy = _normalised(curve, singles)
    weak, strong = singles.accuracy[singles.cheapest], singles.accuracy[singles.best]
    if np.isnan(x[0]) or strong <= weak:
        return float("nan")
    if x[0] > 0:
        x, accuracy = np.r_[0.0, x], np.r_[weak, accuracy]
    inside = (x > 0) & (x < 1)
    ends = np.interp([0.0, 1.0], x, accuracy)
    grid, height = np.r_[0.0, x[inside], 1.0], np.r_[ends[0], accuracy[inside], ends[1]]
    return float((np.trapezoid(height, grid) - weak) / (strong - weak))


def _normalised(curve: Curve, singles: Singles) -> tuple[Floats, Floats]:
    cost, accuracy = curve.by_cost()
    weak, strong = singles.cost[singles.cheapest], singles.cost[singles.best]
    span = strong - weak
    return (cost - weak) / span if span > 0 else np.full_like(cost, np.nan), accuracy
