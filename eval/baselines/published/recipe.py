"""Independent probes by the recipe of "LLMs Encode Their Failures", step by step.

Source: arXiv 2602.09924, and its code (github.com/KabakaWilliam/llms_know_difficulty,
src/pika/probe/linear_eoi_probe.py). What it lacks (an intercept, standardised activations, a refit on all
training queries, a calibration split of its own) is lacking here too: this is the probe to beat.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from eval.baselines.base import Features, probability
from eval.outcomes import Outcomes
from eval.queries import Queries
from eval.tables import Floats
from probes.estimators.solving.logistic import sigmoid
from probes.metrics import auroc, spearman

ALPHAS = (1.0, 10.0, 100.0, 1000.0, 10000.0)
"""Strengths tried; logistic regression's C is one over them."""

VALIDATION = 0.2
SHUFFLE_SEED = 42
LEAST = 10
"""With fewer graded answers the candidate's mean is forecast."""


@dataclass(frozen=True)
class Probe:
    """The chosen probe of one candidate.

    Attributes
    ----------
    slice : int
        Which (layer, position), layers slowest.
    alpha : float
        Its strength.
    weights : ndarray of shape (width,)
        No intercept.
    platt : pair of float
        Slope and level of the logit; None for a success rate, whose ridge prediction stays raw.
    score : float
        AUROC (Spearman for rates) on the validation part.
    """

    slice: int
    alpha: float
    weights: Floats
    platt: tuple[float, float] | None
    score: float


class RecipeProbes:
    """For each candidate the single best (layer, position) of all, by its validation score.

    The last fifth of the shuffled training queries is validation: strengths, slice and Platt scaling are
    chosen on it, and the probe is not fitted again. Outcomes of 0 and 1 get L2 logistic regression chosen by
    AUROC, rates get ridge regression chosen by Spearman's correlation; neither has an intercept.

    Parameters
    ----------
    slices : int
        Layers times positions in the features.
    """

    needs_features = True

    def __init__(self, *, slices: int = 1) -> None:
        self.slices = slices

    def fit(self, train: Outcomes, features: Features) -> Self:
        """Fit the probes; see `eval.baselines.base.Forecaster`."""
        sliced = features.reshape(len(features), self.slices, -1)
        order = np.random.RandomState(SHUFFLE_SEED).permutation(len(features))
        columns = [_Column.of(sliced, column, order) for column in train.correct.T]
        self.probes_: list[Probe | None] = [column.best() if column.enough else None for column in columns]
        known = ~np.isnan(train.correct)
        totals = np.where(known, train.correct, 0).sum(axis=0)
        self.means_: Floats = np.where(known.any(axis=0), totals / np.maximum(known.sum(axis=0), 1), 0.5)
        return self

    def predict(self, queries: Queries, features: Features) -> Floats:
        """Success, shape (n, K)."""
        sliced = features.reshape(len(features), self.slices, -1)
        success = np.tile(self.means_, (len(features), 1))
        for k, probe in enumerate(self.probes_):
            if probe is not None:
                raw = sliced[:, probe.slice] @ probe.weights
                platt = probe.platt
                success[:, k] = raw if platt is None else sigmoid(platt[0] * raw + platt[1])
        return probability(success)


@dataclass(frozen=True)
class _Column:
    """One candidate's training and validation rows."""

    sliced: Features
    correct: Floats
    train: np.ndarray[Any, Any]
    validation: np.ndarray[Any, Any]

    @classmethod
    def of(cls, sliced: Features, correct: Floats, order: np.ndarray[Any, Any]) -> _Column:
        answered = order[~np.isnan(correct[order])]
        cut = len(answered) - round(VALIDATION * len(answered))
        return cls(sliced, correct, answered[:cut], answered[cut:])

    @property
    def binary(self) -> bool:
        seen = self.correct[~np.isnan(self.correct)]
        return bool(np.isin(seen, (0.0, 1.0)).all())

    @property
    def enough(self) -> bool:
        parts = (self.correct[self.train], self.correct[self.validation])
        return len(parts[0]) >= LEAST and all(len(np.unique(part)) > 1 for part in parts)

    def best(self) -> Probe:
        found: Probe | None = None
        truth = self.correct[self.validation]
        for place in range(self.sliced.shape[1]):
            x, held = self.sliced[self.train, place], self.sliced[self.validation, place]
            for alpha, weights in zip(ALPHAS, self._weights(x), strict=True):
                raw = held @ weights
                score = auroc(raw, truth) if self.binary else spearman(raw, truth)
                if found is None or score > found.score:
                    platt = _platt(raw, truth) if self.binary else None
                    found = Probe(place, alpha, weights, platt, score)
        assert found is not None
        return found

    def _weights(self, x: Features) -> list[Floats]:
        """The probe of each strength."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression, Ridge

        y = self.correct[self.train].astype(np.float32)
        if not self.binary:
            return [Ridge(alpha, fit_intercept=False).fit(x, y).coef_ for alpha in ALPHAS]
        with warnings.catch_warnings():  # the recipe stops after 1,000 steps as well
            warnings.simplefilter("ignore", ConvergenceWarning)
            models = [
                LogisticRegression(C=1 / alpha, fit_intercept=False, solver="lbfgs", max_iter=1000)
                for alpha in ALPHAS
            ]
            return [model.fit(x, y).coef_[0] for model in models]


def _platt(raw: Floats, correct: Floats) -> tuple[float, float]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(raw[:, None], correct)
    return float(model.coef_[0, 0]), float(model.intercept_[0])
