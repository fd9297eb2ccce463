"""A new candidate, or a new version of one: few graded answers, or none, and the directions of the pool.

What a bank knows of difficulty holds for candidates that it has never seen; only their level and slopes
are new. Those few numbers are fitted to whatever labels there are, around what the pool's candidates
are like (a Gaussian prior, its mean and spread taken over the pool: empirical Bayes).
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from probes.errors import UsageError
from probes.estimators.linear import LinearProbes
from probes.estimators.outcomes import as_targets
from probes.estimators.solving.logistic import fit_logistic
from probes.scoring.newcomer.canary import Canary, canary_of
from probes.scoring.newcomer.surprise import Surprise, surprise_of

Floats = npt.NDArray[np.float64]

LEAST_LEVEL_SD = 0.5
FORECAST_SD = 0.5
"""How far a forecast level may be off, in logits."""


class Onboarded(NamedTuple):
    """A bank with the new or refitted candidate, and whether its directions still rank."""

    probes: LinearProbes
    canary: Canary


def add_candidate(
    probes: LinearProbes,
    features: npt.ArrayLike,
    correct: npt.ArrayLike,
    *,
    trials: npt.ArrayLike | None = None,
    pool_correct: npt.ArrayLike | None = None,
    expected_rate: float | None = None,
    seed: int = 0,
) -> Onboarded:
    """A bank with one candidate more, the last.

    Parameters
    ----------
    probes
        The bank so far, K candidates.
    features
        Of the queries that the new candidate answered [n, F]; n may be 0.
    correct, trials
        Its success rates [n], NaN where missing, and draws behind each.
    pool_correct
        Success rates of the old candidates on the same queries [n, K], NaN where missing: how much harder or
        easier those queries turned out than they look, which makes the level a good deal more certain.
    expected_rate
        A forecast of its mean success rate, in (0, 1); without one, the pool's levels are the prior.
    seed
        For the bootstrap.
    """
    scores = _scores(probes, features)
    prior = prior_of(probes, expected_rate)
    rate, weight = as_targets(np.asarray(correct, dtype=float).reshape(-1, 1), trials, len(scores))
    surprise = None
    if pool_correct is not None and len(scores):
        surprise = surprise_of(probes, scores, pool_correct)
    fitted = fit_newcomer(prior, scores, rate[:, 0], weight[:, 0], surprise)
    grown = replace(
        probes,
        loadings=np.column_stack([probes.loadings, fitted[1:]]),
        level=np.append(probes.level, fitted[0]),
    )
    expected = scores @ prior.mean[1:] + prior.mean[0]
    return Onboarded(grown, canary_of(expected, rate[:, 0], weight[:, 0], seed))


class Prior(NamedTuple):
    """What a candidate's level and loadings [2 + R] are before any label: Gaussian."""

    mean: Floats
    sd: Floats


def prior_of(probes: LinearProbes, expected_rate: float | None = None) -> Prior:
    """The pool's mean and spread; where there is a forecast of the success rate, the level is its."""
    mean, sd = _population(probes)
    if expected_rate is not None:
        mean[0], sd[0] = _level_at(probes, mean, expected_rate), FORECAST_SD
    return Prior(mean, sd)


def fit_newcomer(
    prior: Prior, scores: Floats, rate: Floats, weight: Floats, surprise: Surprise | None = None
) -> Floats:
    """Level and loadings [2 + R] of one candidate.

    Parameters
    ----------
    prior
        Before any label.
    scores
        Of the answered queries [n, 1 + R].
    rate, weight
        Success rates and effective draws [n], weight 0 where missing.
    surprise
        What the pool's outcomes on the same queries say.
    """
    design = np.column_stack([np.ones(len(scores)), scores])
    if surprise is None:
        return fit_logistic(design, rate, weight, prior_mean=prior.mean, prior_sd=prior.sd)
    return _fit_with(surprise, design, rate, weight, prior)


def refit_candidate(
    probes: LinearProbes,
    candidate: int,
    features: npt.ArrayLike,
    correct: npt.ArrayLike,
    *,
    trials: npt.ArrayLike | None = None,
    seed: int = 0,
) -> Onboarded:
    """A bank in which one candidate has a new level and slope; its direction stays (a new checkpoint of it).

    Parameters
    ----------
    candidate
        Its column.
    features, correct, trials, seed
        As for `add_candidate`.
    """
    if not 0 <= candidate < probes.n_candidates:
        raise UsageError(f"No candidate {candidate} among {probes.n_candidates}", param="candidate")
    scores = _scores(probes, features)
    old = scores @ probes.loadings[:, candidate] + probes.level[candidate]
    rate, weight = as_targets(np.asarray(correct, dtype=float).reshape(-1, 1), trials, len(scores))
    found = refit_line(old, rate[:, 0], weight[:, 0], seed=seed)
    loadings, level = probes.loadings.copy(), probes.level.copy()
    loadings[:, candidate] *= found.slope
    level[candidate] = found.level + found.slope * level[candidate]
    return Onboarded(replace(probes, loadings=loadings, level=level), found.canary)


class Line(NamedTuple):
    """New logit = level + slope * old logit, and whether the old one still ranks."""

    level: float
    slope: float
    canary: Canary


def refit_line(old: Floats, rate: Floats, weight: Floats, *, seed: int = 0) -> Line:
    """Level and slope that fit new labels, pulled towards (0, 1); the slope is not negative.

    Parameters
    ----------
    old
        Logits so far [n].
    rate, weight
        Success rates and effective draws [n], weight 0 where missing.
    seed
        For the canary's bootstrap.
    """
    level, slope = fit_line(old, rate, weight)
    return Line(level, slope, canary_of(old, rate, weight, seed))


def fit_line(old: Floats, rate: Floats, weight: Floats) -> tuple[float, float]:
    """Level and slope of `refit_line`, without its canary."""
    design = np.column_stack([np.ones_like(old), old])
    level, slope = fit_logistic(
        design, rate, weight, prior_mean=np.array([0.0, 1.0]), prior_sd=np.array([1.0, 0.5])
    )
    if slope < 0:  # the old ranking is worse than none: keep the level alone
        (level,) = fit_logistic(design[:, :1], rate, weight, prior_mean=np.zeros(1), prior_sd=np.ones(1))
        slope = 0.0
    return float(level), float(slope)


def _fit_with(surprise: Surprise, design: Floats, rate: Floats, weight: Floats, prior: Prior) -> Floats:
    """Level and loadings given the surprise, then averaged over surprises, which new queries hide."""
    variance = float(np.var(surprise.excess))
    widened = _widening(surprise.worth**2 * variance)
    fitted = fit_logistic(
        np.column_stack([design, surprise.excess]),
        rate,
        weight,
        prior_mean=np.append(prior.mean * widened, surprise.worth),
        prior_sd=np.append(prior.sd * widened, surprise.worth_sd),
    )
    averaged: Floats = fitted[:-1] / _widening(fitted[-1] ** 2 * variance)
    return averaged


def _widening(variance: float) -> float:
    """sqrt(1 + pi v / 8): E sigmoid(a + N(0, v)) is about sigmoid(a / that).

    Source: MacKay 1992, Neural Computation 4(5), eq. 10.
    """
    return float(np.sqrt(1 + np.pi * variance / 8))


def _scores(probes: LinearProbes, features: npt.ArrayLike) -> Floats:
    matrix = np.asarray(features, dtype=np.float32)
    if not len(matrix):
        return np.empty((0, len(probes.offsets)))
    return probes.scores(matrix)


def _population(probes: LinearProbes) -> tuple[Floats, Floats]:
    """Mean and standard deviation of (level, loadings) over the pool."""
    numbers = np.vstack([probes.level, probes.loadings])
    mean = numbers.mean(axis=1)
    if probes.n_candidates > 1:
        sd = numbers.std(axis=1, ddof=1)
    else:
        sd = np.full(len(mean), 0.5)  # one candidate says nothing of spread
    sd[0] = max(sd[0], LEAST_LEVEL_SD)
    sd[1] = max(sd[1], 0.25 * abs(mean[1]))
    return mean, np.maximum(sd, 1e-3)


def _level_at(probes: LinearProbes, mean: Floats, expected_rate: float) -> float:
    """The level at which the mean success probability is the forecast, for normally distributed scores."""
    if not 0 < expected_rate < 1:
        raise UsageError(f"A rate must be in (0, 1), not {expected_rate}", param="expected_rate")
    variance = float(mean[1:] @ mean[1:])  # scores have variance 1
    return float(np.log(expected_rate / (1 - expected_rate))) * _widening(variance)
