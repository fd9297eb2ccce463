"""A probe that chooses which of a prompt's last tokens to read: one learnt query, one direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from probes.errors import DataError
from probes.estimators.solving.coordinates import Coordinates
from probes.estimators.solving.logistic import sigmoid

Floats = npt.NDArray[np.float64]

RANK = 32
"""Principal coordinates of the token states that are kept."""
PENALTY = 3.0
"""Ridge on both vectors, in draws."""


@dataclass(frozen=True, eq=False)
class AttentionPooling:
    """logit = offset + sum_t softmax_t(query . z_t) (direction . z_t); z: principal coordinates."""

    projection: Floats
    mean: Floats
    scale: Floats
    query: Floats
    direction: Floats
    offset: float

    def logit(self, states: object, *, centre: bool = False) -> Floats:
        """Logits [n] of states with a ``tail`` [n, T, d]; `centre` as for the linear probes."""
        tail = np.asarray(getattr(states, "tail"), dtype=np.float64)  # noqa: B009 - any States will do
        if tail.shape[-1] != len(self.mean):
            raise DataError(
                f"The checkpoint's states are {tail.shape[-1]} wide, the probe {len(self.mean)}.",
                param="models",
            )
        flat = tail.reshape(-1, tail.shape[-1])
        mean, scale = (flat.mean(axis=0), flat.std(axis=0)) if centre else (self.mean, self.scale)
        ratio = np.where(scale > 1e-9, 1 / np.maximum(scale, 1e-9), 0.0)
        z = ((tail - mean) * ratio) @ self.projection
        return self.offset + _pooled(z, self.query, self.direction)[0]


def fit_pooling(tail: npt.NDArray[np.float32], rate: Floats, weight: Floats) -> AttentionPooling:
    """Fit to token states [n, T, d] and success rates [n] by L-BFGS from the last token."""
    n, tokens, width = tail.shape
    flat = tail.reshape(-1, width)
    found = Coordinates.fit(flat, max_rank=RANK)
    rank = min(RANK, found.rank)
    spread = np.sqrt(found.spectrum[:rank] / found.n_rows)
    projection = found.basis[:, :rank].astype(np.float64) / spread
    z = (found.transform(flat)[:, :rank] / spread).reshape(n, tokens, rank).astype(np.float64)
    every, last = z.reshape(-1, rank), z[:, 0].mean(axis=0)
    start = np.concatenate([last / max(1.0, float(last @ last)), np.zeros(rank), [_logit(rate, weight)]])

    def objective(x: Floats) -> tuple[float, Floats]:
        query, direction, offset = x[:rank], x[rank:-1], x[-1]
        pooled, share = _pooled(z, query, direction)
        logit = offset + pooled
        miss = weight * (sigmoid(logit) - rate)
        read = z @ direction
        inner = share * (read - pooled[:, None])
        gradient = np.concatenate(
            [
                (miss[:, None] * inner).ravel() @ every + PENALTY * query,
                (miss[:, None] * share).ravel() @ every + PENALTY * direction,
                [miss.sum()],
            ]
        )
        loss = weight @ (np.logaddexp(0, logit) - rate * logit)
        return float(loss + PENALTY * (query @ query + direction @ direction) / 2), gradient

    best = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 200}).x
    scale = np.where(np.isfinite(found.scale), found.scale, 0.0)
    return AttentionPooling(projection, found.mean, scale, best[:rank], best[rank:-1], float(best[-1]))


def _pooled(z: Floats, query: Floats, direction: Floats) -> tuple[Floats, Floats]:
    """Pooled readings [n] and shares of the tokens [n, T]."""
    score = z @ query
    share = np.exp(score - score.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    return (share * (z @ direction)).sum(axis=1), share


def _logit(rate: Floats, weight: Floats) -> float:
    mean = (weight @ rate + 0.5) / (weight.sum() + 1)
    return float(np.log(mean / (1 - mean)))
