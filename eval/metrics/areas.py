"""Areas under cost-accuracy curves: one number for all knob settings.

All are taken over the cost range of the single candidates, so that routers of one pool compare. They are
NaN where every candidate costs the same.
"""

from __future__ import annotations

import numpy as np

from eval.metrics.curves import Curve, Singles
from eval.metrics.frontier import hull, pareto
from eval.tables import Floats


def p_auccc(curve: Curve, singles: Singles) -> float:
    """Area between a router's curve and its cheapest candidate's accuracy, over the cost range.

    ``1/(c_max - c_min) ∫ (accuracy(c) - accuracy of the cheapest candidate) dc`` by trapezoids. Left of
    the curve stands the cheapest candidate, right of it the curve's last accuracy.

    Source: arXiv 2603.20895 and its toolkit's evaluate.py (``_padded_auc``); where that code drops
    points outside the range, here the curve is cut at the border.
    """
    low, high = singles.cost_range
    if not high > low:
        return float("nan")
    floor = float(singles.accuracy[singles.cheapest])
    cost, accuracy = curve.by_cost()
    if cost[0] > low:
        cost, accuracy = np.r_[low, cost], np.r_[floor, accuracy]
    cost, accuracy = _cut(cost, accuracy, low, high)
    return float(np.trapezoid(accuracy - floor, cost) / (high - low))


def mdp_auccc(curve: Curve, singles: Singles) -> float:
    """How much larger `p_auccc` is than that of the models-only Pareto frontier.

    Positive when routing beats picking single candidates. Source: as for `p_auccc`.
    """
    return p_auccc(curve, singles) - p_auccc(pareto(singles.cost, singles.accuracy), singles)


def aiq(curve: Curve, singles: Singles) -> float:
    """Average improvement in quality: mean height of the router's non-decreasing convex hull.

    The hull starts at the cheapest candidate, which is always to be had, and is extended flat to the
    highest cost. Source: RouterBench, arXiv 2403.12031 (its text divides by the cost range, as here; its
    code by the highest cost).
    """
    low, high = singles.cost_range
    if not high > low:
        return float("nan")
    floor = float(singles.accuracy[singles.cheapest])
    corners = hull(np.r_[low, curve.cost], np.r_[floor, curve.accuracy])
    cost, accuracy = _cut(corners.cost, corners.accuracy, low, high)
    return float(np.trapezoid(accuracy, cost) / (high - low))


def _cut(cost: Floats, accuracy: Floats, low: float, high: float) -> tuple[Floats, Floats]:
    """A curve by ascending cost, cut or extended flat to exactly [low, high]."""
    inside = (cost > low) & (cost < high)
    ends = np.interp([low, high], cost, accuracy)
    # At a border where points share one cost, the last (highest) of them counts.
    if (at := np.flatnonzero(cost == low)).size:
        ends[0] = accuracy[at[-1]]
    return np.r_[low, cost[inside], high], np.r_[ends[0], accuracy[inside], ends[1]]
