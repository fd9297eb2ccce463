"""Many linear predictions from one set of features, shrunk together: for the bank and the length head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probes.estimators.coordinates import Coordinates
from probes.estimators.ridge import Ridge, out_of_fold, solve
from probes.estimators.shrinkage import Direction, learn_directions

Floats = npt.NDArray[np.float64]

STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
"""Ridge penalties, in units of the Gram matrix's trace (rows times features)."""


@dataclass(frozen=True, eq=False)
class Regression:
    """Targets as level + scores @ loadings, scores linear in the features.

    Attributes
    ----------
    weights, offsets
        Scores of D directions on raw features: ``features @ weights + offsets``, [F, D] and [D]; mean 0
        and, but for the sign, standard deviation 1 on the training rows.
    loadings
        [D, T]; row 0 is the shared direction.
    level
        [T]: weighted mean of each target.
    held
        Out-of-fold predictions of the training rows [n, T], with all shrinkage.
    directions
        What was learnt of each direction.
    """

    weights: Floats
    offsets: Floats
    loadings: Floats
    level: Floats
    held: Floats
    directions: tuple[Direction, ...]


def fit_regression(
    coordinates: Coordinates,
    features: npt.NDArray[np.floating],
    targets: Floats,
    weights: Floats,
    fold: npt.NDArray[np.intp] | None,
    strengths: tuple[float, ...] = STRENGTHS,
) -> Regression:
    """Fit T targets, with the strength and shrinkage of each direction learnt out of fold.

    Parameters
    ----------
    coordinates
        Of the same features.
    features
        [n, F].
    targets, weights
        [n, T], weight 0 where the target is missing.
    fold
        Fold of each row [n]; None where there are too few groups to hold any out: then the levels are all.
    strengths
        Penalties to choose among, relative to the Gram matrix's trace.
    """
    known = weights.sum(axis=0)
    level = (weights * targets).sum(axis=0) / np.where(known > 0, known, 1)
    if fold is None or coordinates.rank == 0:
        return _levels_only(features, level)
    z = coordinates.transform(features)
    held: list[Floats] = []
    solved: list[Ridge] = []
    folds: Ridge | None = None
    whole: Ridge | None = None
    for relative in sorted(strengths, reverse=True):  # the next, weaker one starts from the last solution
        penalty = relative * coordinates.total
        predicted, folds = out_of_fold(z, coordinates.spectrum, targets, weights, penalty, fold, folds)
        whole = solve(z, coordinates.spectrum, targets, weights, penalty, whole)
        held.append(predicted)
        solved.append(whole)
    found = learn_directions(held, targets, weights)
    maps = np.stack([d.factor * (solved[d.strength].coefficients @ d.reading) for d in found], axis=1)
    spread = np.sqrt(coordinates.spectrum @ maps**2 / coordinates.n_rows)
    spread = np.where(spread > 0, spread, 1.0)
    loadings = np.stack([d.loading for d in found]) * spread[:, None]
    folded, offsets = coordinates.fold(maps / spread)
    shrunk = sum(
        np.outer((held[d.strength] - held[d.strength].mean(axis=0)) @ d.reading * d.factor, d.loading)
        for d in found
    )
    return Regression(folded, offsets, loadings, level, level + shrunk, found)


def _levels_only(features: npt.NDArray[np.floating], level: Floats) -> Regression:
    n, width = features.shape
    nothing = Direction(np.full(len(level), 1 / len(level)), np.ones(len(level)), 0, 0.0, 0.0)
    return Regression(
        np.zeros((width, 1)),
        np.zeros(1),
        np.zeros((1, len(level))),
        level,
        np.tile(level, (n, 1)),
        (nothing,),
    )
