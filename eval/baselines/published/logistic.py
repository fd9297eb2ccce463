"""L2-regularised logistic regression of many candidates on one design.

The minimiser is the one of scikit-learn's ``LogisticRegression(C=1 / alpha, fit_intercept=False)``, and there
is only one, since the penalty makes the loss strictly convex. All candidates are solved together, so that a
step is two matrix products, and in the design's principal axes, scaled by the curvature there, so that few
steps are needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from eval.baselines.base import Features
from eval.tables import Floats

TOLERANCE = 1e-5
"""Largest slope left, as a share of the largest at the start, in curvature's units."""
LEAST_GAIN = 1e-9
"""Of the loss in a step, relative: single precision tells no less."""
MOST_STEPS = 200
REMEMBERED = 20
"""Steps of which L-BFGS keeps the change of slope."""


class LogisticPath:
    """Weights of K candidates for one strength after the other, each started where the last one ended.

    Parameters
    ----------
    design : ndarray of shape (n, F)
        Finite numbers; no column of ones is added.
    correct : ndarray of shape (n, K)
        0 or 1; anything where `seen` is 0.
    seen : ndarray of shape (n, K)
        1 for the rows that a candidate is fitted on, else 0.
    """

    def __init__(self, design: Features, correct: Floats, seen: Floats) -> None:
        gram = (design.T @ design).astype(np.float64)
        self._spectrum, axes = np.linalg.eigh(gram)
        self._spectrum = np.maximum(self._spectrum, 0.0)
        self._axes = axes.astype(np.float32)
        self._turned = design @ self._axes
        self._seen = seen.astype(np.float32)
        self._right = np.where(seen > 0, correct, 0.0).astype(np.float32)
        self._at = np.zeros((design.shape[1], correct.shape[1]))

    def weights(self, alphas: Sequence[float]) -> Iterator[Floats]:
        """Weights [F, K] for each strength, best asked from the strongest to the weakest."""
        for alpha in alphas:
            self._at = self._solve(alpha)
            yield self._axes @ self._at

    def _solve(self, alpha: float) -> Floats:
        from scipy.optimize import minimize

        # Where p is far from one half the curvature is less than a quarter of the spectrum.
        p = self._success(self._at.astype(np.float32))
        curved = (self._seen * p * (1 - p)).sum(axis=0, dtype=np.float64) / len(p)
        scale = 1 / np.sqrt(self._spectrum[:, None] * curved + alpha)
        shape = self._at.shape

        def loss(flat: Floats) -> tuple[float, Floats]:
            at = flat.reshape(shape) * scale
            logit = self._turned @ at.astype(np.float32)
            value = self._seen * np.logaddexp(0, logit) - self._right * logit
            slope = self._turned.T @ (self._seen * _sigmoid(logit) - self._right) + alpha * at
            return float(value.sum(dtype=np.float64) + alpha / 2 * (at**2).sum()), (slope * scale).ravel()

        start = (self._at / scale).ravel()
        largest = float(np.abs(loss(np.zeros_like(start))[1]).max()) or 1.0
        found = minimize(
            loss,
            start,
            jac=True,
            method="L-BFGS-B",
            options={
                "gtol": TOLERANCE * largest,
                "ftol": LEAST_GAIN,
                "maxiter": MOST_STEPS,
                "maxcor": REMEMBERED,
            },
        )
        return np.asarray(found.x.reshape(shape) * scale, dtype=np.float64)

    def _success(self, at: Features) -> Features:
        return _sigmoid(self._turned @ at)


def _sigmoid(logit: Any) -> Features:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logit)), dtype=np.float32)
