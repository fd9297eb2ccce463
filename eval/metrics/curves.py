"""Cost-accuracy curves: what a router does as its knob moves.

A curve keeps every point that the knob visits, in knob order: no running maximum, no points picked on
test data (the plots of several papers do both, and look better for it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.tables import Floats
from probes.errors import UsageError

Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Curve:
    """Mean cost and accuracy at each knob setting.

    Attributes
    ----------
    cost : ndarray of shape (m,)
        Mean cost a query, in US dollars (or whatever unit the pool is priced in).
    accuracy : ndarray of shape (m,)
        Mean share of right answers, in [0, 1].
    knob : ndarray of shape (m,)
        The policy's setting behind each point.
    """

    cost: Floats
    accuracy: Floats
    knob: Floats

    def __post_init__(self) -> None:
        """Refuse empty, ragged or non-finite curves."""
        shapes = {self.cost.shape, self.accuracy.shape, self.knob.shape}
        if len(shapes) != 1 or self.cost.ndim != 1 or not self.cost.size:
            raise UsageError(f"A curve needs three equal rows of at least one point, not {shapes}.")
        if not (np.isfinite(self.cost).all() and np.isfinite(self.accuracy).all()):
            raise UsageError("A curve's costs and accuracies must be finite.")

    @classmethod
    def of(cls, points: Sequence[tuple[float, float]]) -> Curve:
        """A curve from (cost, accuracy) pairs; the knob counts them."""
        cost, accuracy = np.array(points, dtype=np.float64).reshape(-1, 2).T
        return cls(cost, accuracy, np.arange(len(points), dtype=np.float64))

    def by_cost(self) -> tuple[Floats, Floats]:
        """Costs in ascending order and the accuracies that go with them; ties by accuracy."""
        order = np.lexsort((self.accuracy, self.cost))
        return self.cost[order], self.accuracy[order]


@dataclass(frozen=True)
class Singles:
    """The candidates, each used for every query: the points that a router has to beat.

    Attributes
    ----------
    cost : ndarray of shape (K,)
        Mean cost a query of each candidate.
    accuracy : ndarray of shape (K,)
        Mean accuracy of each candidate.
    """

    cost: Floats
    accuracy: Floats

    @property
    def cheapest(self) -> int:
        """Position of the cheapest candidate; of equally cheap ones the most accurate."""
        return int(np.lexsort((-self.accuracy, self.cost))[0])

    @property
    def best(self) -> int:
        """Position of the most accurate candidate; of equally good ones the cheapest."""
        return int(np.lexsort((self.cost, -self.accuracy))[0])

    @property
    def cost_range(self) -> tuple[float, float]:
        """Lowest and highest mean cost."""
        return float(self.cost.min()), float(self.cost.max())


def sweep(choices: Ints, correct: Floats, cost: Floats, knob: Floats) -> Curve:
    """The curve of a policy from its choices at every knob setting.

    Parameters
    ----------
    choices : ndarray of shape (m, n)
        Chosen candidate at each of m knob settings, for each of n queries.
    correct, cost : ndarray of shape (n, K)
        Outcome and realised cost of every candidate on every query.
    knob : ndarray of shape (m,)
        The settings.
    """
    rows = np.arange(choices.shape[1])
    return Curve(cost[rows, choices].mean(axis=1), correct[rows, choices].mean(axis=1), knob)


def oracle_choices(correct: Floats, cost: Floats) -> Ints:
    """The cheapest of the best answers to each query, with hindsight.

    Where no candidate is right this is the cheapest candidate (the oracle of paper A, arXiv 2602.09924;
    RouterArena calls it the optimal model).

    Returns
    -------
    ndarray of shape (n,)
    """
    best = np.nanmax(correct, axis=1, keepdims=True)
    price = np.where(correct >= best, np.where(np.isnan(cost), 0.0, cost), np.inf)
    return np.asarray(np.argmin(price, axis=1), dtype=np.int64)
