"""How long each candidate's answer will be: a ridge regression of its logarithm, and back without bias."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from probes.errors import ArtefactError, DataError
from probes.estimators.outcomes import as_features
from probes.estimators.solving.coordinates import Coordinates
from probes.estimators.solving.regression import fit_regression
from probes.splits import grouped_folds

Floats = npt.NDArray[np.float64]

_ARRAYS = ("weights", "offsets", "lowest", "highest", "smearing", "quantiles")


class Lengths(NamedTuple):
    """Expected output tokens and an interval around them, each [n, K]."""

    expected: Floats
    low: Floats
    high: Floats


class LengthHead:
    """Expected output tokens of K candidates.

    The logarithm of the length is predicted linearly; the mean length is its exponential times the mean
    of the exponentials of the residuals (smearing: Duan 1983, JASA 78(383), eq. 3), taken out of fold.
    The interval is that of the residuals' quantiles. Predictions stay within the lengths that were
    seen.

    Parameters
    ----------
    coverage
        Share of answers that the interval holds.
    n_folds, max_rank, seed
        As for `ProbeBank`.

    Attributes
    ----------
    weights, offsets
        log tokens = features @ weights + offsets, [F, K] and [K].
    lowest, highest
        log tokens seen [K].
    smearing
        Mean of exp(residual) [K].
    quantiles
        Residuals at the interval's ends [2, K].
    """

    def __init__(
        self, *, coverage: float = 0.8, n_folds: int = 5, max_rank: int = 512, seed: int = 0
    ) -> None:
        self.coverage = coverage
        self.n_folds = n_folds
        self.max_rank = max_rank
        self.seed = seed

    def fit(
        self,
        X: npt.ArrayLike,
        output_tokens: npt.ArrayLike,
        *,
        groups: npt.ArrayLike | None = None,
        coordinates: Coordinates | None = None,
    ) -> Self:
        """Fit to answers' lengths.

        Parameters
        ----------
        X
            Features [n, F].
        output_tokens
            Tokens of each candidate's answer [n, K], NaN where unknown; a candidate without any gets
            the pool's.
        groups
            Group of each query [n].
        coordinates
            Of X, if they are known already.

        Raises
        ------
        DataError
            If shapes do not fit, a length is negative, or none is known.
        """
        features = as_features(X)
        tokens = np.asarray(output_tokens, dtype=np.float64)
        if tokens.ndim != 2 or len(tokens) != len(features):
            raise DataError(f"Output tokens must be [{len(features)}, candidates]", param="output_tokens")
        seen = ~np.isnan(tokens)
        if not seen.any() or not (np.isfinite(tokens[seen]) & (tokens[seen] >= 0)).all():
            raise DataError("Output tokens must be known, finite and not negative", param="output_tokens")
        logs = np.log(np.maximum(np.where(seen, tokens, 1.0), 1.0))
        labels = np.arange(len(features)) if groups is None else np.asarray(groups)
        n_folds = min(self.n_folds, len(np.unique(labels)))
        fold = grouped_folds(labels, n_folds, self.seed) if n_folds > 1 else None
        coordinates = coordinates or Coordinates.fit(features, self.max_rank, self.seed)
        fitted = fit_regression(coordinates, coordinates.transform(features), logs, seen.astype(float), fold)
        weights, offsets = coordinates.fold(fitted.maps)
        unknown: npt.NDArray[np.bool_] = np.logical_not(seen.any(axis=0))
        level = np.where(unknown, fitted.level[~unknown].mean(), fitted.level)
        self.weights = weights @ fitted.loadings
        self.offsets = offsets @ fitted.loadings + level
        residual = np.where(seen, logs - fitted.held, np.nan)
        self._learn_spread(logs, residual, seen, unknown)
        return self

    def predict(self, X: npt.ArrayLike) -> Lengths:
        """Expected tokens and interval of features [n, F]."""
        return self.from_logs(as_features(X, len(self.weights)) @ self.weights + self.offsets)

    def from_logs(self, logs: npt.NDArray[np.floating]) -> Lengths:
        """The same, of predicted logarithms [n, K]."""
        inside = np.clip(logs, self.lowest, self.highest)
        middle = np.exp(inside)
        low, high = np.exp(self.quantiles)
        return Lengths(middle * self.smearing, middle * low, middle * high)

    def expected(self, logs: npt.NDArray[np.floating]) -> Floats:
        """Expected tokens alone, of predicted logarithms [n, K]."""
        inside = np.minimum(np.maximum(logs, self.lowest), self.highest)  # a quarter of np.clip's time
        found: Floats = np.exp(inside) * self.smearing
        return found

    def with_typical_candidate(self) -> LengthHead:
        """A head with one candidate more, the last, of which nothing is known: the pool's geometric mean."""
        grown = LengthHead(
            coverage=self.coverage, n_folds=self.n_folds, max_rank=self.max_rank, seed=self.seed
        )
        for name in _ARRAYS:
            array = getattr(self, name)
            setattr(grown, name, np.concatenate([array, array.mean(axis=-1, keepdims=True)], axis=-1))
        return grown

    def scaled(self, candidate: int, output_tokens: npt.ArrayLike, X: npt.ArrayLike) -> LengthHead:
        """A head in which one candidate's lengths are moved by a factor, to fit those seen of it [n].

        NaN where a length is unknown. The factor is pulled towards 1, as if one answer of the predicted
        length had been seen besides.
        """
        tokens = np.asarray(output_tokens, dtype=np.float64)
        seen = np.isfinite(tokens)
        moved = self.scaled_by(candidate, 0.0)
        if not seen.any():
            return moved
        logs = np.log(np.maximum(tokens[seen], 1.0))
        predicted = (
            as_features(X, len(self.weights))[seen] @ self.weights[:, candidate] + self.offsets[candidate]
        )
        moved = self.scaled_by(candidate, float((logs - predicted).sum() / (seen.sum() + 1)))
        moved.lowest[candidate] = min(moved.lowest[candidate], logs.min())
        moved.highest[candidate] = max(moved.highest[candidate], logs.max())
        return moved

    def scaled_by(self, candidate: int, log_factor: float) -> LengthHead:
        """A head in which one candidate's lengths are multiplied by exp(log_factor)."""
        moved = LengthHead.from_arrays({name: getattr(self, name).copy() for name in _ARRAYS}, self.coverage)
        for array in (moved.offsets, moved.lowest, moved.highest):
            array[candidate] += log_factor
        return moved

    def to_arrays(self) -> dict[str, Floats]:
        """Arrays by name, float64."""
        return {name: getattr(self, name) for name in _ARRAYS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.floating]], coverage: float) -> LengthHead:
        """The inverse of `to_arrays`.

        Raises
        ------
        ArtefactError
            If an array is missing or does not fit the others.
        """
        head = cls(coverage=coverage)
        try:
            for name in _ARRAYS:
                setattr(head, name, np.asarray(arrays[name], dtype=np.float64))
        except KeyError as exc:
            raise ArtefactError(f"The length head lacks the array {exc}", param="length") from exc
        if {head.weights.shape[-1], *(getattr(head, name).shape[-1] for name in _ARRAYS)} != {
            len(head.offsets)
        }:
            raise ArtefactError("The length head's arrays do not fit each other", param="length")
        return head

    def _learn_spread(
        self, logs: Floats, residual: Floats, seen: npt.NDArray[np.bool_], unknown: npt.NDArray[np.bool_]
    ) -> None:
        """Range, smearing and interval of each candidate; the pool's where one has no answer."""
        pooled = residual[seen]
        columns = [pooled if lost else residual[seen[:, m], m] for m, lost in enumerate(unknown)]
        known = [logs[seen] if lost else logs[seen[:, m], m] for m, lost in enumerate(unknown)]
        tails = [(1 - self.coverage) / 2, (1 + self.coverage) / 2]
        self.lowest = np.array([column.min() for column in known])
        self.highest = np.array([column.max() for column in known])
        self.smearing = np.array([np.exp(column).mean() for column in columns])
        self.quantiles = np.array([np.quantile(column, tails) for column in columns]).T
