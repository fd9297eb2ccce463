"""How good scores are: separation, calibration, rank agreement.

Everywhere `correct` is a success rate in [0, 1] (0 or 1 after one draw) and NaN where the outcome is
missing; those rows are left out. A rate counts as that share of a success and the rest of a failure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probes.errors import DataError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reliability:
    """A reliability curve: one entry for each bin that holds anything.

    Attributes
    ----------
    predicted
        Mean probability [bins].
    observed
        Mean success rate [bins].
    count
        Queries of each bin [bins].
    """

    predicted: Floats
    observed: Floats
    count: npt.NDArray[np.int64]


def auroc(score: npt.ArrayLike, correct: npt.ArrayLike) -> float:
    """Probability that a success scores above a failure, ties counted half; NaN if there is but one class.

    The Mann-Whitney statistic; equals scikit-learn's ``roc_auc_score``, for rates with every query
    entered twice, as a success with weight ``rate`` and as a failure with weight ``1 - rate``.
    """
    score, rate = _observed(score, correct)
    values, index = np.unique(score, return_inverse=True)
    won = np.bincount(index, rate, len(values))
    lost = np.bincount(index, 1 - rate, len(values))
    pairs = won.sum() * lost.sum()
    if not pairs > 0:
        return float("nan")
    below = np.cumsum(lost) - lost
    return float(won @ (below + lost / 2) / pairs)


def auroc_within(score: npt.ArrayLike, correct: npt.ArrayLike, strata: npt.ArrayLike) -> float:
    """Mean AUROC over strata (datasets, families), each counted once; those of one class are left out.

    Pooled AUROC mostly measures which stratum a query is of; this one does not.
    """
    score, correct, strata = np.asarray(score), np.asarray(correct), np.asarray(strata)
    inside = [auroc(score[strata == name], correct[strata == name]) for name in np.unique(strata)]
    known = [value for value in inside if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def log_loss(
    probability: npt.ArrayLike, correct: npt.ArrayLike, trials: npt.ArrayLike | None = None
) -> float:
    """Mean negative log-likelihood in nats, weighted by trials; probabilities are kept 1e-15 from 0 and 1."""
    probability, rate = np.asarray(probability, float), np.asarray(correct, float)
    weight = np.where(np.isnan(rate), 0.0, 1.0 if trials is None else np.asarray(trials, float))
    rate = np.nan_to_num(rate)
    inside = np.clip(probability, 1e-15, 1 - 1e-15)
    losses = -(rate * np.log(inside) + (1 - rate) * np.log1p(-inside))
    return float((weight * losses).sum() / weight.sum()) if weight.any() else float("nan")


def brier(probability: npt.ArrayLike, correct: npt.ArrayLike) -> float:
    """Mean squared difference of probability and success rate."""
    probability, rate = _observed(probability, correct)
    return float(np.mean((probability - rate) ** 2)) if len(rate) else float("nan")


def ece(probability: npt.ArrayLike, correct: npt.ArrayLike, n_bins: int = 10) -> float:
    """Expected calibration error: mean gap of a bin's probability and success rate, weighted by its count.

    Equal-width bins (low, high], the first with its lower end, as paper A's code has them.
    """
    curve = reliability_curve(probability, correct, n_bins)
    gaps = np.abs(curve.predicted - curve.observed)
    return float(np.average(gaps, weights=curve.count)) if len(gaps) else float("nan")


def reliability_curve(probability: npt.ArrayLike, correct: npt.ArrayLike, n_bins: int = 10) -> Reliability:
    """Observed against predicted success in equal-width bins (low, high]."""
    probability, rate = _observed(probability, correct)
    bins = np.clip(np.ceil(probability * n_bins).astype(int) - 1, 0, n_bins - 1)
    count = np.bincount(bins, minlength=n_bins)
    held = count > 0
    predicted = np.bincount(bins, probability, n_bins)[held] / count[held]
    observed = np.bincount(bins, rate, n_bins)[held] / count[held]
    return Reliability(predicted, observed, count[held])


def spearman(score: npt.ArrayLike, target: npt.ArrayLike) -> float:
    """Rank correlation, ties at their mean rank; NaN if either side is constant."""
    score, target = _observed(score, target)
    a, b = _ranks(score), _ranks(target)
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if norm > 0 else float("nan")


def _ranks(values: Floats) -> Floats:
    _, index, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    mean_rank: Floats = last - (count - 1) / 2
    return mean_rank[index]


def _observed(score: npt.ArrayLike, correct: npt.ArrayLike) -> tuple[Floats, Floats]:
    left, right = np.asarray(score, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if left.ndim != 1 or left.shape != right.shape:
        raise DataError(
            f"Scores and outcomes must be two lists of one length, not {left.shape} and {right.shape}"
        )
    seen = ~np.isnan(right)
    if not np.isfinite(left[seen]).all():
        raise DataError("A score is not finite", param="score")
    return left[seen], right[seen]
