"""Outcomes as estimators take them: success rates and the number of draws behind each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from probes.errors import DataError

Floats = npt.NDArray[np.float64]


class Targets(NamedTuple):
    """Checked outcomes.

    Attributes
    ----------
    rate
        Success rates [n, K] in [0, 1]; 0 where missing.
    weight
        Effective draws [n, K]; 0 where missing.
    """

    rate: Floats
    weight: Floats


def effective_draws(trials: npt.ArrayLike) -> Floats:
    """What k draws on one query are worth, in draws on distinct queries: ``2k / (1 + k)``.

    Kish's design effect, k / (1 + (k - 1) r), with half of the variance between queries (r = 1/2):
    draws on one query say again and again how hard that query is, and never more than two others would.
    """
    count = np.asarray(trials, dtype=np.float64)
    return 2 * count / (1 + count)


def as_targets(correct: npt.ArrayLike, trials: npt.ArrayLike | None, n: int) -> Targets:
    """Check outcomes of n queries.

    Parameters
    ----------
    correct
        Success rates [n, K] or [n], NaN where missing.
    trials
        Draws behind each, or None for one each; ignored where the outcome is missing.
    n
        Number of queries.

    Raises
    ------
    DataError
        If shapes do not fit, a rate is outside [0, 1], or a trial count is not positive.
    """
    rate = np.asarray(correct, dtype=np.float64)
    rate = rate[:, None] if rate.ndim == 1 else rate
    if rate.ndim != 2 or rate.shape[0] != n or not rate.shape[1]:
        raise DataError(f"Outcomes must be [{n}, candidates], not {list(rate.shape)}", param="correct")
    seen = ~np.isnan(rate)
    if not ((rate[seen] >= 0) & (rate[seen] <= 1)).all():
        worst = rate[seen][np.abs(rate[seen] - 0.5).argmax()]
        raise DataError(f"A success rate is outside [0, 1]: {worst}", param="correct")
    if trials is None:
        return Targets(np.nan_to_num(rate), seen.astype(np.float64))
    count = np.asarray(trials, dtype=np.float64)
    count = count[:, None] if count.ndim == 1 else count
    if count.shape != rate.shape:
        raise DataError(f"Trials are {list(count.shape)}, outcomes {list(rate.shape)}", param="trials")
    if not (np.isfinite(count[seen]) & (count[seen] > 0)).all():
        raise DataError("The number of draws behind an outcome must be positive", param="trials")
    return Targets(np.nan_to_num(rate), np.where(seen, effective_draws(np.where(seen, count, 0)), 0.0))


def as_features(features: npt.ArrayLike, width: int | None = None) -> npt.NDArray[np.float32]:
    """Check features [n, F].

    Raises
    ------
    DataError
        If they are no matrix, not finite, or not `width` wide.
    """
    matrix = np.asarray(features, dtype=np.float32)
    if matrix.ndim != 2 or not all(matrix.shape):
        raise DataError(f"Features must be [queries, width], not {list(matrix.shape)}", param="features")
    if width is not None and matrix.shape[1] != width:
        raise DataError(
            f"Features are {matrix.shape[1]} wide, the probes {width}",
            param="features",
            hint="Read the same layers, positions and kind as the probes were fitted on.",
        )
    finite = np.isfinite(matrix.sum(axis=1, dtype=np.float64))
    if not finite.all():
        raise DataError(
            f"Features of query {int(np.argmin(finite))} are not finite (NaN or inf)", param="features"
        )
    return matrix
