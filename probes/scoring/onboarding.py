"""A new candidate, or a new version of one: few graded answers, or none, and the directions of the pool.

What a bank knows of difficulty holds for candidates that it has never seen; only their level and slopes
are new. Those few numbers are fitted to whatever labels there are, around what the pool's candidates
are like (a Gaussian prior, its mean and spread taken over the pool: empirical Bayes).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from probes.errors import UsageError
from probes.estimators.linear import LinearProbes
from probes.estimators.outcomes import as_targets
from probes.estimators.solving.logistic import fit_logistic, sigmoid
from probes.metrics import auroc

Floats = npt.NDArray[np.float64]

LEAST_LEVEL_SD = 0.5
FORECAST_SD = 0.5
"""How far a forecast level may be off, in logits."""
WORTH = (4.0, 4.0)
"""Prior mean and spread of what the pool's mean surprise is worth, in logits per unit of rate."""
LEAST_VARIANCE = 0.02
"""Of an outcome that the whole pool agrees on: a newcomer may differ."""
N_BOOTSTRAP = 400
TOLERATED_LOSS = 0.02
"""AUROC below what is expected that does not yet call for a new fit."""


@dataclass(frozen=True)
class Canary:
    """Whether the old directions still rank a candidate's queries.

    Attributes
    ----------
    verdict
        ``ranks``: they do, about as well as they should. ``weaker``: clearly less well; fit
        the bank again. ``unknown``: too few labels to say.
    auroc, low, high
        Of the old ranking on the new labels, with its 95% bootstrap interval; NaN without labels of
        both classes.
    expected
        What the AUROC would be, were the success probabilities exactly right.
    n_labels
        Labels seen.
    """

    verdict: Literal["ranks", "weaker", "unknown"]
    auroc: float
    low: float
    high: float
    expected: float
    n_labels: int


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
    return Onboarded(grown, _canary(expected, rate[:, 0], weight[:, 0], seed))


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
    return Line(level, slope, _canary(old, rate, weight, seed))


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


class Surprise(NamedTuple):
    """How much better the pool did on each query than its probes say [n], and its worth in logits."""

    excess: Floats
    worth: float
    worth_sd: float


def surprise_of(probes: LinearProbes, scores: Floats, pool_correct: npt.ArrayLike) -> Surprise:
    """What the pool's outcomes say beyond the probes; its worth is what it is for each old candidate."""
    rate, weight = as_targets(pool_correct, None, len(scores))
    if rate.shape[1] != probes.n_candidates:
        raise UsageError(
            f"The pool's outcomes are of {rate.shape[1]} candidates, not {probes.n_candidates}",
            param="pool_correct",
        )
    logit = scores @ probes.loadings + probes.level
    residual = weight * (rate - sigmoid(logit))
    total, count = residual.sum(axis=1), weight.sum(axis=1)
    worth = []
    for m in range(probes.n_candidates):
        others = (total - residual[:, m]) / np.maximum(count - weight[:, m], 1)
        design = np.column_stack([np.ones_like(others), logit[:, m], others])
        prior_mean, prior_sd = np.array([0.0, 1.0, WORTH[0]]), np.array([1.0, 0.5, WORTH[1]])
        fitted = fit_logistic(design, rate[:, m], weight[:, m], prior_mean=prior_mean, prior_sd=prior_sd)
        worth.append(fitted[2])
    sd = float(np.std(worth)) if len(worth) > 1 else WORTH[1]
    return Surprise(total / np.maximum(count, 1), float(np.mean(worth)), max(sd, 0.5))


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


def spread_rows(pool_correct: npt.ArrayLike, n: int, seed: int = 0) -> npt.NDArray[np.intp]:
    """Queries for a new candidate to answer: n of all, spread over how well the pool does on them.

    Systematic sampling along the mean success rate e, denser where an outcome is less certain: in
    proportion to its standard deviation, about sqrt(e (1 - e)) (Neyman allocation: Cochran 1977, sections
    5.5 and 8.1). Fitted to them together with the pool's outcomes (`pool_correct` of `add_candidate`,
    which makes good that the middle is asked more often), a level is more certain than from random ones.

    Parameters
    ----------
    pool_correct
        Success rates [N, K], NaN where missing.
    n
        How many, at most N.
    seed
        For the start and for ties.

    Returns
    -------
    ndarray of int
        Sorted row numbers.
    """
    rate, weight = as_targets(pool_correct, None, len(np.asarray(pool_correct)))
    if not 0 <= n <= len(rate):
        raise UsageError(f"Cannot choose {n} of {len(rate)} queries", param="n")
    rng = np.random.default_rng(seed)
    easiness = (weight * rate).sum(axis=1) / np.maximum(weight.sum(axis=1), 1)
    order = np.lexsort([rng.random(len(rate)), easiness])
    chance = _chances(np.sqrt(easiness * (1 - easiness) + LEAST_VARIANCE)[order], n)
    passed = np.floor(np.cumsum(chance) + rng.random() - 1e-9).astype(np.intp)
    return np.sort(order[np.diff(passed, prepend=0) > 0])[:n]


def _chances(density: Floats, n: int) -> Floats:
    """Chances of being chosen that sum to n, in proportion to a density as far as none exceeds 1."""
    chance = np.zeros(len(density))
    free = np.ones(len(density), dtype=bool)
    while n and free.any():
        chance[free] = (n - (~free).sum()) * density[free] / density[free].sum()
        if (chance[free] <= 1).all():
            break
        free &= chance < 1
        chance[~free] = 1.0
    return chance


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


def _canary(old: Floats, rate: Floats, weight: Floats, seed: int) -> Canary:
    """Whether logits that were there before the labels rank them."""
    seen = weight > 0
    old, rate = old[seen], rate[seen]
    value = auroc(old, rate)
    expected = auroc(old, sigmoid(old))
    if np.isnan(value):
        return Canary("unknown", value, value, value, expected, int(seen.sum()))
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(old), size=(N_BOOTSTRAP, len(old)))
    resampled = np.array([auroc(old[rows], rate[rows]) for rows in draws])
    low, high = (float(edge) for edge in np.nanquantile(resampled, [0.025, 0.975]))
    if high < expected - TOLERATED_LOSS:
        return Canary("weaker", value, low, high, expected, len(old))
    return Canary("ranks" if low > 0.5 else "unknown", value, low, high, expected, len(old))
