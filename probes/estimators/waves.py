"""What a linear map of the activations misses: waves of a few leading coordinates.

Random cosines of the leading principal coordinates (Rahimi & Recht 2007, NIPS 20) make a linear probe on
them a smooth function of where the query lies: a kernel machine at the price of one more small product. The
leading coordinates are linear in the features, so whatever projects features can leave the rest to us.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from probes.estimators.solving.coordinates import Coordinates, Floats32, Floats64, falling

LEADING = 16
"""Coordinates that the waves run along: those that novelty is read from, so that they cost nothing more."""
BANDWIDTH = 1.5
"""Over the root of twice the coordinates' mean square: what the typical distance of two queries is."""
SHARE = 1.5
"""Root of the waves' total variance, in units of that of the standardised features."""
MAX_RANK = 1024
ROWS_AT_ONCE = 512


@dataclass(frozen=True, eq=False)
class Waves:
    """``cos(u @ frequencies + phases)`` of leading coordinates ``u = features @ directions + offsets``.

    Attributes
    ----------
    directions, offsets
        [F, q] and [q].
    frequencies, phases
        [q, M] and [M].
    """

    directions: Floats64
    offsets: Floats64
    frequencies: Floats32
    phases: Floats32

    @classmethod
    def along(cls, coordinates: Coordinates, count: int, seed: int = 0) -> Waves:
        """So many waves along the leading coordinates.

        Frequencies of a Gaussian kernel, orthogonal within each block of q (Yu et al. 2016, NIPS 29, section
        3): fewer of them do.
        """
        q = min(LEADING, coordinates.rank)
        directions, offsets = coordinates.fold(np.eye(coordinates.rank)[:, :q])
        square = coordinates.spectrum[:q].sum() / coordinates.n_rows
        rng = np.random.default_rng(seed)
        blocks = [
            np.linalg.qr(rng.standard_normal((q, q)))[0] * np.sqrt(rng.chisquare(q, q))
            for _ in range(-(-count // q))
        ]
        frequencies = np.concatenate(blocks, axis=1)[:, :count] * (BANDWIDTH / np.sqrt(2 * square))
        phases = rng.uniform(0, 2 * np.pi, count)
        return cls(directions, offsets, frequencies.astype(np.float32), phases.astype(np.float32))

    @property
    def count(self) -> int:
        """Number of waves M."""
        return len(self.phases)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.floating]]) -> Waves:
        """Waves of arrays by name, whatever their precision."""
        return cls(
            np.asarray(arrays["directions"], np.float64),
            np.asarray(arrays["offsets"], np.float64),
            np.asarray(arrays["frequencies"], np.float32),
            np.asarray(arrays["phases"], np.float32),
        )

    def fits(self, n_features: int) -> bool:
        """Whether the arrays fit each other, and features of this width."""
        if self.offsets.ndim != 1 or self.phases.ndim != 1:
            return False
        q, count = len(self.offsets), len(self.phases)
        return self.directions.shape == (n_features, q) and self.frequencies.shape == (q, count)

    def at(self, leading: npt.NDArray[np.floating]) -> Floats32:
        """Waves [n, M] at leading coordinates [n, q]."""
        turned: Floats32 = np.asarray(leading, dtype=np.float32) @ self.frequencies
        turned += self.phases
        np.cos(turned, out=turned)
        return turned


class Folded(NamedTuple):
    """Maps on raw features [F, D], their offsets [D], and maps on waves [M, D]."""

    weights: Floats64
    offsets: Floats64
    waves: Floats64


@dataclass(frozen=True, eq=False)
class Enlarged:
    """Principal coordinates of standardised features and waves, side by side.

    Attributes
    ----------
    linear
        Coordinates of the features.
    waves
        Along them.
    mean
        Of each wave [M] in training.
    weight
        Of the coordinates and of the waves, so that their variances are 1 and `SHARE` squared.
    basis
        Orthonormal directions [r + M, R].
    spectrum, total, n_rows
        As for `Coordinates`.
    """

    linear: Coordinates
    waves: Waves
    mean: Floats64
    weight: tuple[float, float]
    basis: Floats32
    spectrum: Floats64
    total: float
    n_rows: int

    @classmethod
    def fit(cls, linear: Coordinates, z: Floats32, count: int, seed: int = 0) -> Enlarged:
        """Diagonalise the Gram matrix of both, from the rows' coordinates z [n, r]."""
        waves = Waves.along(linear, count, seed)
        q, n = len(waves.offsets), len(z)
        mean, square = np.zeros(count), 0.0
        for rows in _parts(z):
            found = waves.at(rows[:, :q])
            mean += found.sum(axis=0, dtype=np.float64) / n
            square += float(np.square(found, dtype=np.float64).sum()) / n
        spread = max(square - float(mean @ mean), 1e-12)
        weight = (float(np.sqrt(n / linear.total)), SHARE / float(np.sqrt(spread)))
        size = linear.rank + count
        gram = np.zeros((size, size), np.float32)
        for rows in _parts(z):
            both = _both(rows, waves, mean, weight)
            gram += both.T @ both
        spectrum, basis = falling(gram)
        kept = np.flatnonzero(spectrum > 1e-6 * max(float(spectrum[0]), 1e-30))[:MAX_RANK]
        total = n * (1 + SHARE**2)
        return cls(linear, waves, mean, weight, basis[:, kept], spectrum[kept].astype(float), total, n)

    def turn(self, z: Floats32) -> Floats32:
        """Coordinates [n, R] of queries with linear coordinates z [n, r]."""
        found = np.empty((len(z), len(self.spectrum)), np.float32)
        for start, rows in zip(range(0, len(z), ROWS_AT_ONCE), _parts(z), strict=True):
            found[start : start + len(rows)] = _both(rows, self.waves, self.mean, self.weight) @ self.basis
        return found

    def fold(self, coefficients: Floats64) -> Folded:
        """Maps [R, D] on these coordinates as maps on raw features and waves."""
        both = self.basis.astype(float) @ coefficients
        weights, offsets = self.linear.fold(both[: self.linear.rank] * self.weight[0])
        waves = both[self.linear.rank :] * self.weight[1]
        return Folded(weights, offsets - self.mean @ waves, waves)


def _parts(z: Floats32) -> Iterator[Floats32]:
    for start in range(0, len(z), ROWS_AT_ONCE):
        yield z[start : start + ROWS_AT_ONCE]


def _both(z: Floats32, waves: Waves, mean: Floats64, weight: tuple[float, float]) -> Floats32:
    found = waves.at(z[:, : len(waves.offsets)])
    found -= mean.astype(np.float32)
    found *= np.float32(weight[1])
    return np.concatenate([z * np.float32(weight[0]), found], axis=1)
