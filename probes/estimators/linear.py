"""A fitted probe bank, as arrays: what is saved, loaded and served; numpy is all it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probes.errors import ArtefactError
from probes.estimators.outcomes import as_features

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinearProbes:
    """logit p_m(x) = level_m + slope_m g(x) + sum_r loading_rm h_r(x), with g and h linear in x.

    Attributes
    ----------
    directions
        [F, 1 + R]: g, the difficulty that all candidates share (easier is higher), then h_1..h_R on
        which they differ; each with standard deviation 1 over the training queries.
    offsets
        [1 + R]: ``g, h = features @ directions + offsets`` have mean 0 over the training queries.
    loadings
        [1 + R, K]: slopes of g, then loadings of h.
    level
        [K]: logit at the training queries' mean.
    """

    directions: Floats
    offsets: Floats
    loadings: Floats
    level: Floats

    @property
    def n_features(self) -> int:
        """Width of the features."""
        return len(self.directions)

    @property
    def n_candidates(self) -> int:
        """Number of candidates."""
        return len(self.level)

    def scores(self, features: npt.ArrayLike) -> Floats:
        """g and h [n, 1 + R] of features [n, F]."""
        return as_features(features, self.n_features) @ self.directions + self.offsets

    def decision_function(self, features: npt.ArrayLike) -> Floats:
        """Logits [n, K] of features [n, F]."""
        return self.scores(features) @ self.loadings + self.level

    def folded(self) -> tuple[Floats, Floats]:
        """The bank as one matrix [F, K] and its offsets [K]."""
        return self.directions @ self.loadings, self.offsets @ self.loadings + self.level

    def to_arrays(self) -> dict[str, Floats]:
        """Arrays by name, float64."""
        return {
            "directions": self.directions,
            "offsets": self.offsets,
            "loadings": self.loadings,
            "level": self.level,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.floating]]) -> LinearProbes:
        """The inverse of `to_arrays`.

        Raises
        ------
        ArtefactError
            If an array is missing, not finite, or does not fit the others.
        """
        try:
            names = ("directions", "offsets", "loadings", "level")
            directions, offsets, loadings, level = (np.asarray(arrays[name], np.float64) for name in names)
        except KeyError as exc:
            raise ArtefactError(f"The probes lack the array {exc}", param="probes") from exc
        ranks = {directions.shape[-1], offsets.shape[-1], loadings.shape[0]}
        shapes = directions.ndim == loadings.ndim == 2 and offsets.ndim == level.ndim == 1
        if not shapes or len(ranks) != 1 or loadings.shape[1] != len(level):
            raise ArtefactError("The probes' arrays do not fit each other", param="probes")
        if not all(np.isfinite(array).all() for array in (directions, offsets, loadings, level)):
            raise ArtefactError("The probes hold numbers that are not finite", param="probes")
        return cls(directions, offsets, loadings, level)
