"""Many linear predictions from one set of features, shrunk together: for the bank and the length head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from probes.estimators.solving.ridge import Ridge, out_of_fold, solve
from probes.estimators.solving.shrinkage import Direction, learn_directions

Floats = npt.NDArray[np.float64]

STRENGTHS = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
"""Ridge penalties, in units of the Gram matrix's trace (rows times features)."""


@dataclass(frozen=True, eq=False)
class Regression:
    """Targets as level + scores @ loadings, scores linear in the coordinates.

    Attributes
    ----------
    maps
        Scores of D directions: ``coordinates @ maps`` [r, D]; mean 0 and, but for the sign, standard
        deviation 1 on the training rows.
    loadings
        [D, T]; row 0 is the shared direction.
    level
        [T]: weighted mean of each target.
    held
        Out-of-fold predictions of the training rows [n, T], with all shrinkage.
    directions
        What was learnt of each direction.
    """

    maps: Floats
    loadings: Floats
    level: Floats
    held: Floats
    directions: tuple[Direction, ...]


class Basis(Protocol):
    """What `fit_regression` asks of coordinates: see `probes.estimators.solving.coordinates.Coordinates`."""

    @property
    def spectrum(self) -> Floats:
        """Sums of squares of the training rows' coordinates [r]."""
        ...

    @property
    def total(self) -> float:
        """The whole Gram matrix's trace."""
        ...

    @property
    def n_rows(self) -> int:
        """Training rows."""
        ...


def fit_regression(
    basis: Basis,
    z: npt.NDArray[np.float32],
    targets: Floats,
    weights: Floats,
    fold: npt.NDArray[np.intp] | None,
    strengths: tuple[float, ...] = STRENGTHS,
) -> Regression:
    """Fit T targets, with the strength and shrinkage of each direction learnt out of fold.

    Parameters
    ----------
    basis
        Of the coordinates.
    z
        Coordinates of the training rows [n, r].
    targets, weights
        [n, T], weight 0 where the target is missing.
    fold
        Fold of each row [n]; None where there are too few groups to hold any out: then the levels are all.
    strengths
        Penalties to choose among, relative to the Gram matrix's trace.
    """
    known = weights.sum(axis=0)
    level = (weights * targets).sum(axis=0) / np.where(known > 0, known, 1)
    if fold is None or not len(basis.spectrum):
        return _levels_only(z, level)
    held: list[Floats] = []
    solved: list[Ridge] = []
    folds: Ridge | None = None
    whole: Ridge | None = None
    for relative in sorted(strengths, reverse=True):  # the next, weaker one starts from the last solution
        penalty = relative * basis.total
        predicted, folds = out_of_fold(z, basis.spectrum, targets, weights, penalty, fold, folds)
        whole = solve(z, basis.spectrum, targets, weights, penalty, whole)
        held.append(predicted)
        solved.append(whole)
    found = learn_directions(held, targets, weights)
    maps = np.stack([d.factor * (solved[d.strength].coefficients @ d.reading) for d in found], axis=1)
    spread = np.sqrt(basis.spectrum @ maps**2 / basis.n_rows)
    spread = np.where(spread > 0, spread, 1.0)
    loadings = np.stack([d.loading for d in found]) * spread[:, None]
    shrunk = sum(
        np.outer((held[d.strength] - held[d.strength].mean(axis=0)) @ d.reading * d.factor, d.loading)
        for d in found
    )
    return Regression(maps / spread, loadings, level, level + shrunk, found)


def _levels_only(z: npt.NDArray[np.float32], level: Floats) -> Regression:
    n, rank = z.shape
    nothing = Direction(np.full(len(level), 1 / len(level)), np.ones(len(level)), 0, 0.0, 0.0)
    return Regression(
        np.zeros((rank, 1)),
        np.zeros((1, len(level))),
        level,
        np.tile(level, (n, 1)),
        (nothing,),
    )
