"""The interface of everything that forecasts success before generation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np

from eval.outcomes import Outcomes
from eval.queries import Queries
from eval.tables import Floats
from probes.encoders.conversation import text_of

Features = np.ndarray[Any, np.dtype[np.float32]]


class Forecaster(Protocol):
    """Success forecasts for K candidates from the queries alone."""

    @property
    def needs_features(self) -> bool:
        """Whether it reads the scout's activations."""
        ...

    def fit(self, train: Outcomes, features: Features) -> Self:
        """Learn from graded queries.

        Parameters
        ----------
        train : Outcomes
            n queries by K candidates.
        features : ndarray of shape (n, F)
            The scout's activations; F is 0 when there is no scout.
        """
        ...

    def predict(self, queries: Queries, features: Features) -> Floats:
        """Success of every candidate on every query.

        Returns
        -------
        ndarray of shape (n, K)
            Scores in [0, 1], not yet calibrated.
        """
        ...


def texts(queries: Queries) -> list[str]:
    """The words of each conversation, all messages joined."""
    return [
        "\n".join(text_of(message.get("content")) for message in conversation)
        for conversation in queries.conversations
    ]


def filled(correct: Floats) -> Floats:
    """Outcomes with the candidate's mean where it did not answer (0.5 if it never did), shape (n, K)."""
    answered = ~np.isnan(correct)
    count = answered.sum(axis=0)
    mean = np.where(count > 0, np.where(answered, correct, 0).sum(axis=0) / np.maximum(count, 1), 0.5)
    return np.where(answered, correct, mean)


def probability(score: Floats) -> Floats:
    """A linear model's output as a probability: clipped to [0.005, 0.995]."""
    return np.asarray(np.clip(score, 0.005, 0.995), dtype=np.float64)


@dataclass(frozen=True)
class Standard:
    """Centre and scale of features.

    Attributes
    ----------
    centre, scale : ndarray of shape (F,)
        Mean, and standard deviation (1 where a feature does not vary).
    """

    centre: Features
    scale: Features

    @classmethod
    def of(cls, features: Features, *, scaled: bool = True) -> tuple[Standard, Features]:
        """The standardisation of features, and the features standardised."""
        centre = features.mean(axis=0)
        x = features - centre
        spread = np.sqrt(np.einsum("ij,ij->j", x, x) / max(len(x), 1))
        scale = np.where(spread < 1e-6, np.float32(1), spread) if scaled else np.ones_like(spread)
        x /= scale
        return cls(centre, scale), x

    def __call__(self, features: Features) -> Features:
        """Other features by the same measure."""
        return np.asarray((features - self.centre) / self.scale, dtype=np.float32)
