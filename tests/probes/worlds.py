"""Outcomes whose true probabilities are known: one difficulty, and directions on which candidates differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from probes.estimators.solving.logistic import sigmoid

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class World:
    """Features [n, F], true probabilities [n, K] and one draw of each [n, K]."""

    features: np.ndarray[Any, np.dtype[np.float32]]
    success: Floats
    correct: Floats


def make_world(
    n: int = 600,
    width: int = 20,
    candidates: int = 4,
    *,
    rank: int = 1,
    slope: float = 1.5,
    spread: float = 0.5,
    seed: int = 0,
) -> World:
    """A world of the bank's own form."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, width)).astype(np.float32)
    difficulty = features @ (slope * rng.normal(size=width) / np.sqrt(width))
    logit = np.linspace(-1, 1, candidates) + difficulty[:, None]
    for _ in range(rank):
        direction = features @ (rng.normal(size=width) / np.sqrt(width))
        logit = logit + spread * np.outer(direction, rng.choice([-1.0, 1.0], candidates))
    success = sigmoid(logit)
    return World(features, success, (rng.random(success.shape) < success).astype(float))
