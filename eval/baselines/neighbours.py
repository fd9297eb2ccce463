"""Success as the mean outcome of the nearest training queries."""

from __future__ import annotations

from typing import Self

import numpy as np

from eval.baselines.base import Features, Standard, filled, probability
from eval.outcomes import Outcomes
from eval.queries import Queries
from eval.tables import Floats

_ROWS = 1024


class Neighbours:
    """k nearest neighbours by cosine of the standardised activations.

    Parameters
    ----------
    k : int, optional
        Neighbours; the square root of the training size by default.
    prior : float
        Weight of the candidate's mean, in neighbours.
    """

    needs_features = True

    def __init__(self, *, k: int | None = None, prior: float = 5.0) -> None:
        self.k = k
        self.prior = prior

    def fit(self, train: Outcomes, features: Features) -> Self:
        """Remember the training queries."""
        self.standard_, x = Standard.of(features)
        self.points_ = _unit(x)
        self.outcomes_ = filled(train.correct)
        return self

    def predict(self, queries: Queries, features: Features) -> Floats:
        """Success, shape (n, K)."""
        n = len(self.points_)
        k = min(self.k or round(n**0.5), n)
        mean = self.outcomes_.mean(axis=0)
        result = np.empty((len(features), self.outcomes_.shape[1]))
        for start in range(0, len(features), _ROWS):
            likeness = _unit(self.standard_(features[start : start + _ROWS])) @ self.points_.T
            nearest = np.argpartition(likeness, n - k, axis=1)[:, n - k :]
            total = self.outcomes_[nearest].sum(axis=1)
            result[start : start + _ROWS] = (total + self.prior * mean) / (k + self.prior)
        return probability(result)


def _unit(vectors: Features) -> Features:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)
