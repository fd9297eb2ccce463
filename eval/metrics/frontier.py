"""Frontiers of the single candidates: what is reached without looking at the query.

The *zero-router* (RouterBench, arXiv 2403.12031) tosses a coin between two candidates; its reach is the
upper convex hull of the singles. A router that stays below the hull is worth nothing.
"""

from __future__ import annotations

import numpy as np

from eval.metrics.curves import Curve
from eval.tables import Floats


def pareto(cost: Floats, accuracy: Floats) -> Curve:
    """The points that no other point beats at the same or lower cost, by ascending cost.

    The knob holds the positions of the points that stayed.
    """
    order = np.lexsort((-accuracy, cost))
    best_before = np.concatenate(([-np.inf], np.maximum.accumulate(accuracy[order])[:-1]))
    keep = order[accuracy[order] > best_before]
    return Curve(cost[keep], accuracy[keep], keep.astype(np.float64))


def hull(cost: Floats, accuracy: Floats) -> Curve:
    """The non-decreasing upper convex hull, from the cheapest point to the most accurate one.

    Between neighbouring corners lies every mixture that tosses a coin. The knob holds the positions of
    the corners. Source: RouterBench's zero-router, by Andrew's monotone chain.
    """
    front = pareto(cost, accuracy)
    corners: list[int] = []
    for i in range(len(front.cost)):
        while len(corners) >= 2 and not _turns_right(front, corners[-2], corners[-1], i):
            corners.pop()
        corners.append(i)
    return Curve(front.cost[corners], front.accuracy[corners], front.knob[corners])


def _turns_right(curve: Curve, a: int, b: int, c: int) -> bool:
    run, rise = curve.cost, curve.accuracy
    return bool((rise[b] - rise[a]) * (run[c] - run[b]) > (rise[c] - rise[b]) * (run[b] - run[a]))


def accuracy_at_cost(corners: Curve, cost: Floats | float) -> Floats:
    """Accuracy of the hull at these costs: the coin toss between its corners, flat beyond its ends."""
    return np.asarray(np.interp(cost, corners.cost, corners.accuracy), dtype=np.float64)


def cost_at_accuracy(corners: Curve, accuracy: float) -> float:
    """The least cost at which the hull reaches an accuracy; NaN where it never does."""
    if accuracy > corners.accuracy[-1]:
        return float("nan")
    if accuracy <= corners.accuracy[0]:
        return float(corners.cost[0])
    return float(np.interp(accuracy, corners.accuracy, corners.cost))
