"""Principal coordinates of the training activations: one Gram matrix, of which all probes are solved.

Features are standardised, and their Gram matrix is diagonalised once. In its eigenbasis every ridge
problem on the same rows is diagonal, whatever the candidate, strength or target, and every weighted one
nearly so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats32 = npt.NDArray[np.float32]
Floats64 = npt.NDArray[np.float64]

ROWS_AT_ONCE = 512
"""Rows that are standardised at a time: no copy of all features is ever made."""
OVERSAMPLING = 32
PASSES = 2


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Principal coordinates of standardised features.

    Attributes
    ----------
    mean, scale
        Of each feature [F]; a constant feature has scale infinity, so that it counts for nothing.
    basis
        Orthonormal directions [F, r], by falling eigenvalue.
    spectrum
        Eigenvalues of the Gram matrix [r]: sums of squares of the training rows' coordinates.
    total
        Trace of the Gram matrix: its spectrum's sum, were all of it kept.
    n_rows
        Training rows.
    """

    mean: Floats64
    scale: Floats64
    basis: Floats32
    spectrum: Floats64
    total: float
    n_rows: int

    @classmethod
    def fit(cls, features: npt.NDArray[np.floating], max_rank: int = 512, seed: int = 0) -> Coordinates:
        """Diagonalise the Gram matrix of features [n, F].

        All eigenvectors are found exactly, from the smaller of the two Gram matrices, where min(n, F)
        is at most 2 * max_rank; else the leading `max_rank`, by randomised subspace iteration (Halko,
        Martinsson & Tropp 2011, SIAM Review 53(2), algorithm 4.4), which never forms a Gram matrix.
        """
        mean, scale = _moments(features)
        n, width = features.shape
        if min(n, width) > 2 * max_rank:
            spectrum, basis = _leading(features, mean, scale, max_rank, seed)
        elif width <= n:
            gram = np.zeros((width, width), np.float32)
            for rows in _blocks(features, mean, scale):
                gram += rows.T @ rows
            spectrum, basis = falling(gram)
        else:
            rows = np.concatenate(list(_blocks(features, mean, scale)))
            spectrum, vectors = falling(rows @ rows.T)
            vectors /= np.sqrt(np.maximum(spectrum, np.float32(1e-30)))
            basis = rows.T @ vectors
        kept = spectrum > 1e-6 * max(float(spectrum[0]), 1e-30)
        total = float(np.isfinite(scale).sum()) * n
        return cls(mean, scale, basis[:, kept].astype(np.float32), spectrum[kept].astype(float), total, n)

    @property
    def rank(self) -> int:
        """Number of coordinates; 0 if every feature is constant."""
        return len(self.spectrum)

    def transform(self, features: npt.NDArray[np.floating]) -> Floats32:
        """Coordinates [n, r] of features [n, F]."""
        blocks = [rows @ self.basis for rows in _blocks(features, self.mean, self.scale)]
        return np.concatenate(blocks) if blocks else np.empty((0, self.rank), np.float32)

    def fold(self, coefficients: npt.NDArray[np.floating]) -> tuple[Floats64, Floats64]:
        """Weights [F, K] and offsets [K] on raw features of maps [r, K] on coordinates.

        ``features @ weights + offsets`` equals ``transform(features) @ coefficients``.
        """
        weights = (self.basis.astype(float) @ coefficients) / self.scale[:, None]
        return weights, -(self.mean @ weights)


def _moments(features: npt.NDArray[np.floating]) -> tuple[Floats64, Floats64]:
    mean = features.mean(axis=0, dtype=np.float64)
    square = np.zeros_like(mean)
    for start in range(0, len(features), ROWS_AT_ONCE):
        square += ((features[start : start + ROWS_AT_ONCE] - mean) ** 2).sum(axis=0)
    scale = np.sqrt(square / len(features))
    scale[scale <= 1e-6 * (np.abs(mean) + 1e-6)] = np.inf
    return mean, scale


def _blocks(features: npt.NDArray[np.floating], mean: Floats64, scale: Floats64) -> Iterator[Floats32]:
    shift, factor = mean.astype(np.float32), (1 / scale).astype(np.float32)
    for start in range(0, len(features), ROWS_AT_ONCE):
        rows = features[start : start + ROWS_AT_ONCE].astype(np.float32)
        rows -= shift
        rows *= factor
        yield rows


def falling(gram: npt.NDArray[np.floating]) -> tuple[Floats32, Floats32]:
    """Eigenvalues of a symmetric matrix, largest first, and their vectors."""
    values, vectors = np.linalg.eigh(gram.astype(np.float64))
    return values[::-1].astype(np.float32), vectors[:, ::-1].astype(np.float32)


def _leading(
    features: npt.NDArray[np.floating], mean: Floats64, scale: Floats64, rank: int, seed: int
) -> tuple[Floats32, Floats32]:
    from scipy.linalg import qr  # numpy's works in double precision: four times the memory

    rng = np.random.default_rng(seed)
    image = rng.standard_normal((features.shape[1], rank + OVERSAMPLING), dtype=np.float32)
    basis = image
    for _ in range(PASSES + 1):
        basis = qr(image, mode="economic", overwrite_a=True, check_finite=False)[0]
        image = np.zeros_like(basis)
        for rows in _blocks(features, mean, scale):
            image += rows.T @ (rows @ basis)
    small = basis.T @ image
    values, vectors = falling((small + small.T) / 2)
    return values[:rank], basis @ vectors[:, :rank]
