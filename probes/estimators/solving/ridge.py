"""Ridge regressions by the hundred, in one basis: candidates, strengths, folds, weights, missing outcomes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats32 = npt.NDArray[np.float32]
Floats64 = npt.NDArray[np.float64]

TOLERANCE = 1e-7
MAX_STEPS = 200


class Ridge(NamedTuple):
    """Solutions of T ridge problems.

    Attributes
    ----------
    coefficients
        [r, T].
    level
        Unpenalised intercepts [T].
    """

    coefficients: Floats32
    level: Floats64

    def predict(self, coordinates: Floats32) -> Floats64:
        """[n, T] of coordinates [n, r]."""
        return coordinates @ self.coefficients + self.level


def solve(
    coordinates: Floats32,
    spectrum: Floats64,
    targets: npt.NDArray[np.floating],
    weights: npt.NDArray[np.floating],
    strength: float,
    start: Ridge | None = None,
) -> Ridge:
    """Minimise ``sum_i w_it (y_it - z_i b_t - a_t)^2 + strength |b_t|^2`` for T targets at once.

    Conjugate gradients on the normal equations, all targets side by side, preconditioned by the
    solution for equal weights, which is diagonal in principal coordinates. With equal weights that is
    the answer after one step; a fold or missing outcomes (weight 0) take a handful more. Source:
    Hestenes & Stiefel 1952; Saad 2003, algorithm 9.1.

    Parameters
    ----------
    coordinates
        Centred principal coordinates [n, r].
    spectrum
        Their sums of squares [r].
    targets, weights
        [n, T] each; a target without any weight has the solution 0.
    strength
        Ridge penalty, in units of `spectrum`; positive.
    start
        Where to start, e.g. from the neighbouring strength's solution.
    """
    share = weights.sum(axis=0, dtype=np.float64)
    share = np.where(share > 0, share, 1.0)
    inverse = 1 / (spectrum[:, None] * (share / len(coordinates)) + strength)
    w = np.asarray(weights, dtype=np.float32)

    def normal(b: Floats32, a: Floats64) -> tuple[Floats64, Floats64]:
        fitted = w * (coordinates @ b + a.astype(np.float32))
        return coordinates.T @ fitted + strength * b, fitted.sum(axis=0, dtype=np.float64)

    weighted = w * np.asarray(targets, dtype=np.float32)
    goal_b, goal_a = coordinates.T @ weighted, weighted.sum(axis=0, dtype=np.float64)
    del weighted
    if start is None:
        b, a = np.zeros_like(goal_b), np.zeros_like(goal_a)
        rest_b, rest_a = goal_b.astype(np.float64), goal_a
    else:
        b, a = start.coefficients.copy(), start.level.copy()
        now_b, now_a = normal(b, a)
        rest_b, rest_a = goal_b - now_b, goal_a - now_a
    size = TOLERANCE**2 * ((goal_b * inverse * goal_b).sum(axis=0) + goal_a**2 / share)
    step_b, step_a = inverse * rest_b, rest_a / share
    energy = (rest_b * step_b).sum(axis=0) + rest_a * step_a
    for _ in range(MAX_STEPS):
        if (energy <= size).all():
            break
        image_b, image_a = normal(step_b.astype(np.float32), step_a)
        length = _ratio(energy, (step_b * image_b).sum(axis=0) + step_a * image_a)
        b += (length * step_b).astype(np.float32)
        a = a + length * step_a
        rest_b, rest_a = rest_b - length * image_b, rest_a - length * image_a
        ready_b, ready_a = inverse * rest_b, rest_a / share
        before, energy = energy, (rest_b * ready_b).sum(axis=0) + rest_a * ready_a
        turn = _ratio(energy, before)
        step_b, step_a = ready_b + turn * step_b, ready_a + turn * step_a
    return Ridge(b, a)


class Held(NamedTuple):
    """Out-of-fold predictions of one strength, and the folds' solutions to start the next from."""

    predicted: Floats64
    folds: Ridge


def out_of_fold(
    coordinates: Floats32,
    spectrum: Floats64,
    targets: Floats64,
    weights: Floats64,
    strength: float,
    fold: npt.NDArray[np.intp],
    start: Ridge | None = None,
) -> Held:
    """Predict each row [n, T] from the folds that it is not in (`fold` [n], counted from 0).

    The folds are solved side by side: a fold is the same problem with weight 0 on its own rows.
    """
    n_folds, n_targets = int(fold.max()) + 1, targets.shape[1]
    away = np.empty((len(targets), n_folds * n_targets), np.float32)
    for k in range(n_folds):
        away[:, k * n_targets : (k + 1) * n_targets] = weights * (fold != k)[:, None]
    tiled = np.tile(targets.astype(np.float32), n_folds)
    solved = solve(coordinates, spectrum, tiled, away, strength, start)
    predicted = np.empty_like(targets)
    for k in range(n_folds):
        mine = slice(k * n_targets, (k + 1) * n_targets)
        part = Ridge(solved.coefficients[:, mine], solved.level[mine])
        predicted[fold == k] = part.predict(coordinates[fold == k])
    return Held(predicted, solved)


def _ratio(above: Floats64, below: Floats64) -> Floats64:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
