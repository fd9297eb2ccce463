"""Outcomes whose true probabilities are known: one difficulty, and directions on which candidates differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from probes.estimators.bank import ProbeBank
from probes.estimators.solving.coordinates import Coordinates
from probes.estimators.solving.logistic import sigmoid
from probes.scoring.calibration import Calibrator
from probes.scoring.length import LengthHead
from probes.scoring.novelty import Novelty
from probes.scoring.scorer import Scorer

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


def assembled(
    world: World,
    bank: ProbeBank,
    coordinates: Coordinates,
    train: slice,
    test: slice,
    *,
    directions: int = 16,
) -> Scorer:
    """A scorer of a bank that was fitted on `train`; `test` says what is ordinary."""
    x = world.features
    tokens = np.exp(5 + 0.1 * x[train, :3])
    return Scorer.assemble(
        bank,
        calibrator=Calibrator.fit(bank.held_out_, world.correct[train], kinds=("platt",)),
        length=LengthHead().fit(x[train], tokens, coordinates=coordinates),
        novelty=Novelty(n_directions=directions).fit(x[train], x[test], coordinates=coordinates),
    )
