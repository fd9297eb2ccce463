"""What a manager asks: how much is saved at which accuracy, and how much of the possible gain is had."""

from __future__ import annotations

import numpy as np

from eval.metrics.curves import Curve, Singles
from eval.tables import Floats


def cost_at_parity(curve: Curve, singles: Singles, *, tolerance: float = 0.0) -> float:
    """Least cost at which the router is as accurate as the best candidate, over that candidate's cost.

    Hindsight: the point is found on the very curve that it is read from. NaN where it is never reached
    or the best candidate costs nothing.

    Parameters
    ----------
    curve : Curve
        The router.
    singles : Singles
        The candidates.
    tolerance : float
        Accuracy that may be given up, in [0, 1]; .005 is half a point.
    """
    best = singles.best
    reached = curve.accuracy >= singles.accuracy[best] - tolerance - 1e-12
    if not reached.any() or singles.cost[best] <= 0:
        return float("nan")
    return float(curve.cost[reached].min() / singles.cost[best])


def saving_at_accuracy(curve: Curve, accuracy: float, reference_cost: float) -> float:
    """Share of `reference_cost` saved by the cheapest point with at least this accuracy; NaN if none."""
    reached = curve.accuracy >= accuracy - 1e-12
    if not reached.any() or reference_cost <= 0:
        return float("nan")
    return float(1.0 - curve.cost[reached].min() / reference_cost)


def headroom_captured(accuracy: float, best: float, oracle: float) -> float:
    """Share of the way from the best candidate to the oracle, negative below the best candidate.

    ``(accuracy - best) / (oracle - best)``; NaN where there is no headroom. Source: arXiv 2603.20895.
    """
    return float((accuracy - best) / (oracle - best)) if oracle > best else float("nan")


def normalised_costs(cost: Floats) -> Floats:
    """Costs scaled to [0, 1] over the pool: ``(c - min c) / (max c - min c)`` (paper A, arXiv 2602.09924)."""
    low, high = float(np.min(cost)), float(np.max(cost))
    return (np.asarray(cost, dtype=np.float64) - low) / (high - low) if high > low else np.zeros(len(cost))
