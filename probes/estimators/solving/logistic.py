"""Logistic regression of a few numbers with a Gaussian prior, by Newton's method."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MAX_STEPS = 50
TOLERANCE = 1e-9


def sigmoid(logit: npt.ArrayLike) -> Floats:
    """1 / (1 + exp(-logit)), without overflow."""
    half = 0.5 * np.asarray(logit, dtype=np.float64)
    return 0.5 * (1 + np.tanh(half))


def fit_logistic(
    features: Floats, rate: Floats, weight: Floats, *, prior_mean: Floats, prior_sd: Floats
) -> Floats:
    """Maximum a-posteriori coefficients of logit(rate) = features @ coefficients.

    Minimises ``-sum weight (rate log p + (1 - rate) log(1 - p)) + sum ((c - mean) / sd)^2 / 2``;
    convex, with the prior strictly so: one class, or no row at all, still has an answer.

    Parameters
    ----------
    features
        [n, P], a column of ones included if a level is wanted.
    rate
        Success rates [n].
    weight
        Effective draws [n], 0 for a missing outcome.
    prior_mean, prior_sd
        [P] each; a large sd leaves a coefficient free.

    Returns
    -------
    Floats
        Coefficients [P].
    """
    coefficients = prior_mean.astype(np.float64)
    precision = prior_sd.astype(np.float64) ** -2
    loss = _loss(features, rate, weight, coefficients, prior_mean, precision)
    for _ in range(MAX_STEPS):
        p = sigmoid(features @ coefficients)
        slope = features.T @ (weight * (p - rate)) + precision * (coefficients - prior_mean)
        curvature = (features.T * (weight * p * (1 - p))) @ features + np.diag(precision)
        step = np.linalg.solve(curvature, slope)
        scale, gain, trial = 1.0, -np.inf, coefficients
        while scale > 1e-8:  # far from the optimum a full Newton step may overshoot
            trial = coefficients - scale * step
            gain = loss - _loss(features, rate, weight, trial, prior_mean, precision)
            if gain >= 0:
                break
            scale /= 2
        if gain < 0:
            break
        coefficients, loss = trial, loss - gain
        if gain <= TOLERANCE * (1 + abs(loss)):
            break
    return coefficients


def _loss(
    features: Floats, rate: Floats, weight: Floats, coefficients: Floats, mean: Floats, precision: Floats
) -> float:
    logit = features @ coefficients
    likelihood = weight @ (np.logaddexp(0, logit) - rate * logit)
    return float(likelihood + 0.5 * precision @ (coefficients - mean) ** 2)
