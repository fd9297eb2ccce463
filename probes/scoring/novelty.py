"""How far a query is from all that the probes were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np
import numpy.typing as npt

from probes.errors import ArtefactError, UsageError
from probes.estimators.outcomes import as_features
from probes.estimators.solving.coordinates import Coordinates

Floats = npt.NDArray[np.float64]

_ARRAYS = ("directions", "offsets", "variance", "precision", "pull", "constants")


class Novelty:
    """Distance from the training activations, and where it becomes suspicious.

    ``distance^2 = (T^2 / q + Q / E[Q]) / 2``: T^2 is the Mahalanobis distance in the q leading
    principal coordinates, Q the energy of the standardised features outside them, each over its mean in
    training (the combined index of Yue & Qin 2001, Ind. Eng. Chem. Res. 40(20), eq. 11). An ordinary
    query has a distance of about 1.

    Parameters
    ----------
    n_directions
        Leading coordinates used; few, since every query pays for each.
    false_alarm_rate
        Share of ordinary queries that may be called novel.
    max_rank, seed
        As for `ProbeBank`.

    Attributes
    ----------
    directions, offsets
        Leading coordinates: features @ directions + offsets, [F, q] and [q].
    variance
        Of the leading coordinates [q].
    precision
        One over each feature's variance, 0 for a constant one [F].
    pull
        precision times mean [F]: energy = x^2 @ precision - 2 x @ pull + constants[0].
    constants
        Energy at 0, mean of Q, threshold.
    """

    def __init__(
        self,
        *,
        n_directions: int = 16,
        false_alarm_rate: float = 0.01,
        max_rank: int = 512,
        seed: int = 0,
    ) -> None:
        if not 0 < false_alarm_rate < 1:
            raise UsageError(
                f"The false alarm rate must be in (0, 1), not {false_alarm_rate}", param="false_alarm_rate"
            )
        self.n_directions = n_directions
        self.false_alarm_rate = false_alarm_rate
        self.max_rank = max_rank
        self.seed = seed

    @property
    def threshold(self) -> float:
        """Distances above it are novel."""
        return float(self.constants[2])

    def fit(
        self, X: npt.ArrayLike, held_out: npt.ArrayLike, *, coordinates: Coordinates | None = None
    ) -> Self:
        """Learn what is ordinary.

        Parameters
        ----------
        X
            Features of the training queries [n, F].
        held_out
            Features of ordinary queries that were not trained on [m, F]: the threshold is set on them,
            so that another ordinary query exceeds it with probability at most `false_alarm_rate` (split
            conformal: Vovk, Gammerman & Shafer 2005). Where m is too small for that, it is their
            largest distance.
        coordinates
            Of X, if they are known already.

        Raises
        ------
        DataError
            If features are malformed or not finite, or nothing is held out.
        """
        features = as_features(X)
        ordinary = as_features(held_out, features.shape[1])
        found = coordinates or Coordinates.fit(features, self.max_rank, self.seed)
        leading = np.eye(found.rank)[:, : min(self.n_directions, found.rank)]
        self.directions, self.offsets = found.fold(leading)
        self.variance = found.spectrum[: leading.shape[1]] / found.n_rows
        self.precision = found.scale**-2.0
        self.pull = self.precision * found.mean
        rest = found.total / found.n_rows - self.variance.sum()
        self.constants = np.array([self.pull @ found.mean, max(rest, 1e-3), np.inf])
        self._prepare()
        distances = np.sort(self.distance(ordinary))
        place = int(np.ceil((len(distances) + 1) * (1 - self.false_alarm_rate))) - 1
        self.constants[2] = distances[min(place, len(distances) - 1)]
        return self

    def distance(self, X: npt.ArrayLike) -> Floats:
        """Distances [n] of features [n, F]."""
        features = as_features(X, len(self.precision)).astype(np.float64)
        energy = features**2 @ self.precision - 2 * features @ self.pull
        return self.combine(features @ self.directions + self.offsets, energy)

    def is_novel(self, X: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Whether each query is beyond the threshold [n]."""
        return self.distance(X) > self.threshold

    def combine(self, leading: npt.NDArray[np.floating], energy: npt.NDArray[np.floating]) -> Floats:
        """Distances [n] of leading coordinates [n, q] and energies, but for the constant [n]."""
        parts = (leading * leading) @ self._on_squares
        rest = energy * self._scale + self._level
        rest += parts[:, 1]
        np.maximum(rest, 0.0, out=rest)
        rest += parts[:, 0] if len(self.variance) else 0.5
        distance: Floats = np.sqrt(rest, out=rest)
        return distance

    def _prepare(self) -> None:
        """Fold the constants of `combine` into what it multiplies with: it runs for every single query."""
        q = len(self.variance)
        self._scale = 0.5 / float(self.constants[1])
        self._level = float(self.constants[0]) * self._scale
        on_squares = np.column_stack([0.5 / (q * self.variance), np.full(q, -self._scale)])
        self._on_squares = on_squares.astype(np.float32)

    def to_arrays(self) -> dict[str, Floats]:
        """Arrays by name, float64."""
        return {name: getattr(self, name) for name in _ARRAYS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.floating]], false_alarm_rate: float) -> Novelty:
        """The inverse of `to_arrays`.

        Raises
        ------
        ArtefactError
            If an array is missing or does not fit the others.
        """
        novelty = cls(false_alarm_rate=false_alarm_rate)
        try:
            for name in _ARRAYS:
                setattr(novelty, name, np.asarray(arrays[name], dtype=np.float64))
        except KeyError as exc:
            raise ArtefactError(f"The novelty statistics lack the array {exc}", param="novelty") from exc
        fits = novelty.directions.shape == (len(novelty.precision), len(novelty.offsets))
        if not fits or novelty.pull.shape != novelty.precision.shape or novelty.constants.shape != (3,):
            raise ArtefactError("The novelty statistics' arrays do not fit each other", param="novelty")
        novelty._prepare()
        return novelty
