"""From a score to a success rate: the level of a model that nobody has graded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probes.errors import UsageError


@dataclass(frozen=True)
class LevelForecast:
    """A new model's mean success rate, foreseen from its score.

    Attributes
    ----------
    rate, low, high
        Forecast with its interval, in (0, 1).
    """

    rate: float
    low: float
    high: float


def forecast_level(
    known_scores: npt.ArrayLike, known_rates: npt.ArrayLike, score: float, *, coverage: float = 0.95
) -> LevelForecast:
    """Carry a score over to a success rate, through models of which both are known.

    A line from score to logit of success, by least squares, with Student's prediction interval; with one or
    two known models, or scores that do not differ, their mean level with the spread of a guess.

    Raises
    ------
    UsageError
        No model is known.
    """
    from scipy.stats import t

    x, rate = np.asarray(known_scores, np.float64), np.asarray(known_rates, np.float64)
    if not len(x):
        raise UsageError("A level needs at least one model with known results.", param="results")
    logit = np.log(np.clip(rate, 0.01, 0.99) / (1 - np.clip(rate, 0.01, 0.99)))
    if len(x) < 3 or np.ptp(x) < 1e-12:
        centre, reach = float(logit.mean()), 2.0 + float(np.ptp(logit))
    else:
        slope, level = np.polyfit(x, logit, 1)
        miss = logit - (level + slope * x)
        sd = np.sqrt((miss**2).sum() / (len(x) - 2))
        far = 1 + 1 / len(x) + (score - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum()
        centre = float(level + slope * score)
        reach = float(t.ppf((1 + coverage) / 2, len(x) - 2) * sd * np.sqrt(far))
    values = 1 / (1 + np.exp(-np.clip([centre, centre - reach, centre + reach], -30, 30)))
    return LevelForecast(*(float(np.clip(value, 1e-3, 1 - 1e-3)) for value in values))
