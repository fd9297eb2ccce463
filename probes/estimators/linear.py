"""A fitted probe bank, as arrays: what is saved, loaded and served; numpy is all it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probes.errors import ArtefactError
from probes.estimators.outcomes import as_features
from probes.estimators.waves import ROWS_AT_ONCE, Waves

Floats = npt.NDArray[np.float64]

_ARRAYS = ("directions", "offsets", "loadings", "level")
_WAVES = ("directions", "offsets", "frequencies", "phases")


@dataclass(frozen=True, eq=False)
class LinearProbes:
    """logit p_m(x) = level_m + slope_m g(x) + sum_r loading_rm h_r(x).

    g and h are linear in x, or, where there are waves, linear in x and in the waves at x.

    Attributes
    ----------
    directions
        [F, 1 + R]: g, the difficulty that all candidates share (easier is higher), then h_1..h_R on
        which they differ; each with standard deviation 1 over the training queries.
    offsets
        [1 + R]: ``g, h = features @ directions + offsets`` (plus the waves' part) have mean 0 over the
        training queries.
    loadings
        [1 + R, K]: slopes of g, then loadings of h.
    level
        [K]: logit at the training queries' mean.
    waves
        Of the features, or None.
    on_waves
        [M, 1 + R]: what each wave adds to g and h; None without waves.
    """

    directions: Floats
    offsets: Floats
    loadings: Floats
    level: Floats
    waves: Waves | None = None
    on_waves: Floats | None = None

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
        checked = as_features(features, self.n_features)
        found: Floats = checked @ self.directions + self.offsets
        if self.waves is not None and self.on_waves is not None:
            for start in range(0, len(checked), ROWS_AT_ONCE):
                rows = slice(start, start + ROWS_AT_ONCE)
                found[rows] += self.waves.at(self.waves.leading(checked[rows])) @ self.on_waves
        return found

    def decision_function(self, features: npt.ArrayLike) -> Floats:
        """Logits [n, K] of features [n, F]."""
        return self.scores(features) @ self.loadings + self.level

    def folded(self) -> tuple[Floats, Floats]:
        """What is linear in the features as one matrix [F, K], and its offsets [K]."""
        return self.directions @ self.loadings, self.offsets @ self.loadings + self.level

    def folded_waves(self) -> Floats:
        """What the waves add to each logit [M, K]; M is 0 without waves."""
        if self.on_waves is None:
            return np.zeros((0, self.n_candidates))
        added: Floats = self.on_waves @ self.loadings
        return added

    def to_arrays(self) -> dict[str, Floats]:
        """Arrays by name, float64."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        if self.waves is not None and self.on_waves is not None:
            arrays |= {f"waves_{name}": np.asarray(getattr(self.waves, name), float) for name in _WAVES}
            arrays["on_waves"] = self.on_waves
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.floating]]) -> LinearProbes:
        """The inverse of `to_arrays`.

        Raises
        ------
        ArtefactError
            If an array is missing, not finite, or does not fit the others.
        """
        waved = "on_waves" in arrays
        names = (*_ARRAYS, *((f"waves_{name}" for name in _WAVES) if waved else ()), *(["on_waves"] * waved))
        try:
            found = {name: np.asarray(arrays[name], np.float64) for name in names}
        except KeyError as exc:
            raise ArtefactError(f"The probes lack the array {exc}", param="probes") from exc
        if not all(np.isfinite(array).all() for array in found.values()):
            raise ArtefactError("The probes hold numbers that are not finite", param="probes")
        probes = cls(
            **{name: found[name] for name in _ARRAYS},
            waves=Waves.from_arrays({name: found[f"waves_{name}"] for name in _WAVES}) if waved else None,
            on_waves=found.get("on_waves"),
        )
        if not probes._fits():
            raise ArtefactError("The probes' arrays do not fit each other", param="probes")
        return probes

    def _fits(self) -> bool:
        flat = self.offsets.ndim == self.level.ndim == 1
        if not flat or not self.directions.ndim == self.loadings.ndim == 2:
            return False
        ranks = {self.directions.shape[1], len(self.offsets), len(self.loadings)}
        fits = len(ranks) == 1 and self.loadings.shape[1] == len(self.level)
        if self.waves is None or self.on_waves is None:
            return fits
        return (
            fits
            and self.waves.fits(self.n_features)
            and self.on_waves.shape == (self.waves.count, len(self.offsets))
        )
