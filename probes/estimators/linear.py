"""A fitted probe bank, as arrays: what is saved, loaded and served; numpy is all it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from probes.errors import ArtefactError
from probes.estimators.outcomes import as_features
from probes.estimators.trunk import Trunk
from probes.estimators.waves import ROWS_AT_ONCE, Waves

Floats = npt.NDArray[np.float64]

_ARRAYS = ("directions", "offsets", "loadings", "level")
_PARTS = {
    "waves": ("directions", "offsets", "frequencies", "phases"),
    "trunk": ("directions", "offsets", "first", "first_bias", "second", "second_bias"),
}
"""Arrays of what is not linear, by the field that holds it."""


class Units(Protocol):
    """Numbers that are not linear in the features, but functions of a few coordinates that are."""

    @property
    def directions(self) -> Floats:
        """Of the coordinates [F, q]."""
        ...

    @property
    def offsets(self) -> Floats:
        """Coordinates are ``features @ directions + offsets`` [q]."""
        ...

    def at(self, leading: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Units [n, M] at coordinates [n, q]."""
        ...


class Added(NamedTuple):
    """Units, and what each of them adds to g and h [M, 1 + R]."""

    units: Units
    to_scores: Floats


@dataclass(frozen=True, eq=False)
class LinearProbes:
    """logit p_m(x) = level_m + slope_m g(x) + sum_r loading_rm h_r(x).

    g and h are linear in x, and in the waves and the trunk's units at x where there are any.

    Attributes
    ----------
    directions
        [F, 1 + R]: g, the difficulty that all candidates share (easier is higher), then h_1..h_R on
        which they differ; each with standard deviation 1 over the training queries.
    offsets
        [1 + R]: ``g, h = features @ directions + offsets``, and what the units add, have mean 0 over the
        training queries.
    loadings
        [1 + R, K]: slopes of g, then loadings of h.
    level
        [K]: logit at the training queries' mean.
    waves
        Of the features, or None.
    on_waves
        [M, 1 + R]: what each wave adds to g and h; None without waves.
    trunk, on_trunk
        The same for learnt units.
    """

    directions: Floats
    offsets: Floats
    loadings: Floats
    level: Floats
    waves: Waves | None = None
    on_waves: Floats | None = None
    trunk: Trunk | None = None
    on_trunk: Floats | None = None

    @property
    def added(self) -> tuple[Added, ...]:
        """What is not linear in the features."""
        pairs = ((self.waves, self.on_waves), (self.trunk, self.on_trunk))
        return tuple(Added(units, on) for units, on in pairs if units is not None and on is not None)

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
        for units, to_scores in self.added:
            for start in range(0, len(checked), ROWS_AT_ONCE):
                rows = slice(start, start + ROWS_AT_ONCE)
                found[rows] += units.at(checked[rows] @ units.directions + units.offsets) @ to_scores
        return found

    def decision_function(self, features: npt.ArrayLike) -> Floats:
        """Logits [n, K] of features [n, F]."""
        return self.scores(features) @ self.loadings + self.level

    def folded(self) -> tuple[Floats, Floats]:
        """What is linear in the features as one matrix [F, K], and its offsets [K]."""
        return self.directions @ self.loadings, self.offsets @ self.loadings + self.level

    def standardised(self, features: npt.NDArray[np.float32]) -> LinearProbes:
        """The same probes, g and h with mean 0 and standard deviation 1 over these features [n, F]."""
        parts = [self.scores(features[i : i + ROWS_AT_ONCE]) for i in range(0, len(features), ROWS_AT_ONCE)]
        scores = np.concatenate(parts)
        mean, spread = scores.mean(axis=0), scores.std(axis=0)
        spread = np.where(spread > 0, spread, 1.0)
        return replace(
            self,
            directions=self.directions / spread,
            offsets=(self.offsets - mean) / spread,
            loadings=self.loadings * spread[:, None],
            level=self.level + mean @ self.loadings,
            on_waves=None if self.on_waves is None else self.on_waves / spread,
            on_trunk=None if self.on_trunk is None else self.on_trunk / spread,
        )

    def to_arrays(self) -> dict[str, Floats]:
        """Arrays by name, float64."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        for part, names in _PARTS.items():
            units, to_scores = getattr(self, part), getattr(self, f"on_{part}")
            if units is not None and to_scores is not None:
                arrays |= {f"{part}_{name}": np.asarray(getattr(units, name), float) for name in names}
                arrays[f"on_{part}"] = to_scores
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.floating]]) -> LinearProbes:
        """The inverse of `to_arrays`.

        Raises
        ------
        ArtefactError
            If an array is missing, not finite, or does not fit the others.
        """
        there = [part for part in _PARTS if f"on_{part}" in arrays]
        names = [*_ARRAYS, *(f"on_{part}" for part in there)]
        names += [f"{part}_{name}" for part in there for name in _PARTS[part]]
        try:
            found = {name: np.asarray(arrays[name], np.float64) for name in names}
        except KeyError as exc:
            raise ArtefactError(f"The probes lack the array {exc}", param="probes") from exc
        if not all(np.isfinite(array).all() for array in found.values()):
            raise ArtefactError("The probes hold numbers that are not finite", param="probes")
        own = {part: {name: found[f"{part}_{name}"] for name in _PARTS[part]} for part in there}
        probes = cls(
            **{name: found[name] for name in _ARRAYS},
            waves=Waves.from_arrays(own["waves"]) if "waves" in own else None,
            on_waves=found.get("on_waves"),
            trunk=Trunk.from_arrays(own["trunk"]) if "trunk" in own else None,
            on_trunk=found.get("on_trunk"),
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
        for units, to_scores in ((self.waves, self.on_waves), (self.trunk, self.on_trunk)):
            if units is not None and to_scores is not None:
                fits &= units.fits(self.n_features)
                fits &= to_scores.shape == (units.count, len(self.offsets))
        return fits
