"""Ridge regression of many targets at once, its strength chosen on held-out groups.

Solved in the smaller of feature and query space from one Gram matrix, in single precision: with
thousands of activations a query this is what makes a comparison of many routers a matter of minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.baselines.base import Features, Standard
from eval.tables import Floats

STRENGTHS = (3e-5, 3e-4, 3e-3, 3e-2, 3e-1)
"""Penalties tried, as shares of the Gram matrix's trace."""


@dataclass(frozen=True)
class Ridge:
    """A fitted ridge regression on standardised features.

    Attributes
    ----------
    standard : Standard
        Centre and scale of the features.
    weights : ndarray of shape (F, K)
        Slopes.
    mean : ndarray of shape (K,)
        Mean target.
    strength : float
        The chosen member of `STRENGTHS`.
    """

    standard: Standard
    weights: Features
    mean: Floats
    strength: float

    def predict(self, features: Features) -> Floats:
        """Predicted targets, shape (n, K)."""
        # (x - centre) / scale folded into the weights: no copy of the features.
        slopes = self.weights / self.standard.scale[:, None]
        return np.asarray(features @ slopes - self.standard.centre @ slopes + self.mean, dtype=np.float64)


def fit_ridge(
    features: Features, targets: Floats, groups: Sequence[Any], *, standardise: bool = True, seed: int = 0
) -> Ridge:
    """Fit K ridge regressions with one common strength.

    Parameters
    ----------
    features : ndarray of shape (n, F)
        Finite numbers.
    targets : ndarray of shape (n, K)
        Finite numbers.
    groups : sequence of length n
        A fifth of the groups is held out to choose the strength.
    standardise : bool
        Give every feature unit variance first; without, it is only centred.
    seed : int
        Which groups.
    """
    standard, x = Standard.of(features, scaled=standardise)
    mean = targets.mean(axis=0)
    y = (targets - mean).astype(np.float32)
    held_out = a_fifth(groups, seed)
    strength = STRENGTHS[1]
    solver = _Solver.of(x, y)
    if held_out.any() and not held_out.all():
        solve = solver.without(held_out)
        losses = [float(np.square(x[held_out] @ solve(s) - y[held_out]).mean()) for s in STRENGTHS]
        strength = STRENGTHS[int(np.argmin(losses))]
    return Ridge(standard, solver(strength), mean, strength)


def a_fifth(groups: Sequence[Any], seed: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Marks about a fifth of the groups, whole."""
    names, position = np.unique(np.asarray(groups), return_inverse=True)
    return np.asarray((np.random.default_rng(seed).random(len(names)) < 0.2)[position])


@dataclass(frozen=True, eq=False)
class _Solver:
    """Slopes for any strength from one Gram matrix: of the rows where they are fewer than the features."""

    x: Features
    y: Features
    gram: Features
    dual: bool

    @classmethod
    def of(cls, x: Features, y: Features) -> _Solver:
        dual = len(x) < x.shape[1]
        return cls(x, y, x @ x.T if dual else x.T @ x, dual)

    def without(self, rows: np.ndarray[Any, np.dtype[np.bool_]]) -> _Solver:
        """The same without the marked rows; where the side stays the same, from the same Gram matrix."""
        x, y = self.x[~rows], self.y[~rows]
        if self.dual:
            return _Solver(x, y, self.gram[np.ix_(~rows, ~rows)], True)
        if len(x) < x.shape[1]:
            return _Solver.of(x, y)
        return _Solver(x, y, self.gram - self.x[rows].T @ self.x[rows], False)

    @property
    def unit(self) -> float:
        """The trace, which strengths are shares of."""
        return float(np.trace(self.gram, dtype=np.float64)) or 1.0

    def __call__(self, strength: float) -> Features:
        from scipy.linalg import cho_factor, cho_solve

        shifted = self.gram.copy()
        shifted.flat[:: len(shifted) + 1] += strength * self.unit
        factor = cho_factor(shifted, lower=True, overwrite_a=True, check_finite=False)
        right = self.y if self.dual else self.x.T @ self.y
        solution = cho_solve(factor, right, check_finite=False)
        return np.asarray(self.x.T @ solution if self.dual else solution, dtype=np.float32)
