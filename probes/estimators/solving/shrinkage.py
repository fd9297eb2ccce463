"""How far to trust what candidates share and where they differ, learnt from out-of-fold predictions.

K independent ridge regressions route badly: the largest of K noisy estimates picks noise. Their
predictions O are taken apart instead, into the part that all candidates share and the singular
directions of what remains, and for each part the outcomes themselves say, out of fold, at which
strength it predicts best and by which factor. Pools of generalists end up with a few directions, pools
of specialists with nearly all: nothing is chosen by hand.

A relative of the canonical shrinkage of Breiman & Friedman 1997 ("curds and whey", JRSS B 59(1),
section 3), which shrinks along the outcomes' canonical directions by a formula; here the directions are
those of the predictions and the factors are measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LARGEST_FACTOR = 1.2
LEAST_Z = 2.0


class Direction(NamedTuple):
    """One part of the predictions and what it is worth.

    Attributes
    ----------
    reading
        How the part is read off K predictions: ``predictions @ reading`` [K].
    loading
        What it adds to each candidate, before the factor [K].
    strength
        Index of the strength whose out-of-fold predictions it is read off.
    factor
        Shrinkage; 1 trusts the predictions as they are.
    z
        The factor over its standard error, rows taken as independent.
    """

    reading: Floats
    loading: Floats
    strength: int
    factor: float
    z: float


def learn_directions(
    held: Sequence[Floats], targets: Floats, weights: Floats, *, reference: int | None = None
) -> tuple[Direction, ...]:
    """Directions that are worth keeping, the shared one first.

    Parameters
    ----------
    held
        Out-of-fold predictions [n, K], one for each strength.
    targets, weights
        Outcomes and their weights [n, K], 0 where missing.
    reference
        Which of `held` the directions are taken from; None for the one of least error.

    Returns
    -------
    tuple of Direction
        The shared direction, always, then those with z >= 2 by falling size. Factors lie in [0, 1.2],
        the shared one's in [0, inf): it makes good what a strong penalty took.
    """
    centred = [predicted - predicted.mean(axis=0) for predicted in held]
    residual = targets - _weighted_mean(targets, weights)
    if reference is None:
        reference = int(np.argmin([(weights * (residual - part) ** 2).sum() for part in centred]))
    known = weights.sum(axis=0)
    share = known / max(known.max(), 1e-30)
    mean = np.full(len(share), 1 / len(share)) if not share.any() else share / share.sum()
    shared = _judge(centred, residual, weights, mean, np.ones_like(mean))
    kept = [shared._replace(factor=max(shared.factor, 0.0))]
    if len(share) > 1:
        kept += _differences(centred, residual, weights, mean, share, reference)
    return tuple(kept)


def _differences(
    centred: Sequence[Floats], residual: Floats, weights: Floats, mean: Floats, share: Floats, reference: int
) -> list[Direction]:
    """Singular directions of what the shared part leaves; few outcomes count, and get, little."""
    root = np.sqrt(share)
    remainder = centred[reference] - (centred[reference] @ mean)[:, None]
    scaled = remainder * root
    _, vectors = np.linalg.eigh(scaled.T @ scaled)
    kept = []
    for vector in vectors.T[:0:-1]:  # the smallest is the shared one, already taken
        reading = vector * root
        reading = reading - reading.sum() * mean  # blind to the shared part
        found = _judge(centred, residual, weights, reading, vector * root)
        if found.z >= LEAST_Z:
            kept.append(found._replace(factor=min(found.factor, LARGEST_FACTOR)))
    return kept


def _judge(
    centred: Sequence[Floats], residual: Floats, weights: Floats, reading: Floats, loading: Floats
) -> Direction:
    """The strength and factor at which a direction explains most of the outcomes."""
    best, most = Direction(reading, loading, 0, 0.0, 0.0), 0.0
    size = weights @ loading**2
    pull = (weights * residual) @ loading
    for index, predicted in enumerate(centred):
        score = predicted @ reading
        square = float(size @ score**2)
        if square <= 0:
            continue
        factor = float(pull @ score) / square
        if factor * (pull @ score) > most and factor > 0:
            error = float(np.sqrt((((pull - factor * size * score) * score) ** 2).sum())) / square
            most = factor * float(pull @ score)
            best = Direction(reading, loading, index, factor, factor / error if error > 0 else np.inf)
    return best


def _weighted_mean(targets: Floats, weights: Floats) -> Floats:
    known = weights.sum(axis=0)
    mean: Floats = (weights * targets).sum(axis=0) / np.where(known > 0, known, 1)
    return mean
