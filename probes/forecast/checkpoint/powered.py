"""Accuracy of a set from forecasts of all its questions and grades of a few: prediction-powered inference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, t

from probes.errors import DataError, UsageError

Floats = npt.NDArray[np.float64]

LEAST_GRADED = 2


@dataclass(frozen=True)
class SetAccuracy:
    """A set's accuracy with its interval, both kept in [0, 1].

    Attributes
    ----------
    value, low, high
        Estimate and interval.
    power
        How far the forecasts were trusted, in [0, 1]: 0 uses the graded questions alone.
    n_graded
        Graded questions.
    """

    value: float
    low: float
    high: float
    power: float
    n_graded: int


def set_accuracy(
    forecast: npt.ArrayLike, graded: npt.ArrayLike, correct: npt.ArrayLike, *, coverage: float = 0.95
) -> SetAccuracy:
    """Correct the mean forecast by what it missed on the graded questions.

    ``power * mean(forecast) + mean(correct - power * forecast_graded)``, with the power that makes the
    variance least (PPI++, Angelopoulos, Duchi & Zrnic 2023, arXiv 2311.01453, eq. 6 and example 6.1).

    Parameters
    ----------
    forecast
        Success probabilities of all N questions of the set [N].
    graded
        Rows of the n questions that were graded [n], drawn at random; distinct.
    correct
        Their success rates [n], each in [0, 1].
    coverage
        Of the interval, in (0, 1).

    Raises
    ------
    UsageError
        Fewer than two questions were graded.
    DataError
        Shapes or values do not fit.
    """
    predicted, rows = np.asarray(forecast, dtype=np.float64), np.asarray(graded, dtype=np.intp)
    rate = np.asarray(correct, dtype=np.float64)
    if len(rows) < LEAST_GRADED:
        raise UsageError(
            f"{len(rows)} graded questions cannot tell how far forecasts are off.",
            param="canary",
            hint="Grade 100 questions drawn at random; 2 are the least.",
        )
    if rows.shape != rate.shape or len(np.unique(rows)) < len(rows) or not ((rate >= 0) & (rate <= 1)).all():
        raise DataError("The canary needs one rate in [0, 1] for each of distinct questions.", param="canary")
    if not ((predicted >= 0) & (predicted <= 1)).all():
        raise DataError("A forecast is no probability.", param="forecast")
    share = len(rows) / len(predicted)
    same = bool(rate.min() == rate.max()) and share < 1
    power = 0.0 if same else _power(predicted, predicted[rows], rate, share)
    miss = rate - power * predicted[rows]
    value = power * float(predicted.mean()) + float(miss.mean())
    # The graded questions are part of a finite set: all graded, nothing is left to guess.
    spread = np.sqrt(miss.var(ddof=1) * (1 - share) / len(rows))
    reach = float(t.ppf((1 + coverage) / 2, len(rows) - 1)) * float(spread)
    if same:  # all right or all wrong: the rule of three stands in for a variance of zero
        reach = 3 / len(rows)
    value = min(1.0, max(0.0, value))
    return SetAccuracy(value, max(0.0, value - reach), min(1.0, value + reach), power, len(rows))


def canary(forecast: npt.ArrayLike, n: int, *, seed: int = 0) -> npt.NDArray[np.intp]:
    """Rows [n] of the questions to grade: one at random out of each of n strata along the forecasts.

    Easy and hard ones are all there in their share, which leaves less to chance than n random questions do
    (Cochran 1977, chapter 5), so that `set_accuracy`'s interval is a cautious one. Strata differ by one
    question at most, and which are the larger ones is drawn, so that each question is as likely as any other.

    Raises
    ------
    UsageError
        There are not so many questions, or less than two are asked for.
    """
    predicted = np.asarray(forecast, dtype=np.float64)
    if not LEAST_GRADED <= n <= len(predicted):
        raise UsageError(
            f"A canary of {n} out of {len(predicted)} questions cannot be drawn.",
            param="canary",
            hint=f"From {LEAST_GRADED} to all of them.",
        )
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(len(predicted)), predicted))  # ties in random order
    size = np.full(n, len(predicted) // n) + (rng.permutation(n) < len(predicted) % n)
    start = np.cumsum(size) - size
    return np.asarray(order[start + rng.integers(size)], dtype=np.intp)


def canary_of_tasks(tasks: Sequence[str], n: int, *, seed: int = 0) -> npt.NDArray[np.intp]:
    """Rows [n] of the questions to grade, each task in its share: before any forecast is there.

    What generates can then answer the canary while the prompts are read. As `canary`, along the tasks
    instead of the forecasts; each question is as likely as any other.
    """
    return canary(np.unique(np.asarray(tasks), return_inverse=True)[1], n, seed=seed)


def unaided_accuracy(forecast: npt.ArrayLike, *, coverage: float = 0.95) -> SetAccuracy:
    """The mean forecast with no question graded; the interval knows nothing of a bias of the forecasts."""
    predicted = np.asarray(forecast, dtype=np.float64)
    if not len(predicted):
        raise UsageError("There is no question to forecast.", param="prompts")
    spread = np.sqrt((predicted * (1 - predicted)).sum()) / len(predicted)
    value, reach = float(predicted.mean()), float(norm.ppf((1 + coverage) / 2) * spread)
    return SetAccuracy(value, max(0.0, value - reach), min(1.0, value + reach), 1.0, 0)


def _power(everything: Floats, graded: Floats, rate: Floats, share: float) -> float:
    variance = float(everything.var())
    if variance == 0:
        return 0.0
    shared = float(np.cov(rate, graded)[0, 1])
    # Few grades make a wild power; ten grades' worth of belief in 1 keep it steady.
    n = len(rate)
    found = (n * shared / variance + 10.0) / (n + 10.0)
    return float(np.clip(found if share < 1 else 0.0, 0.0, 1.0))
