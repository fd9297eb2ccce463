"""Independent probes by the recipe of "LLMs Encode Their Failures", step by step.

Source: arXiv 2602.09924, and its code (github.com/KabakaWilliam/llms_know_difficulty,
src/pika/probe/linear_eoi_probe.py). What it lacks (an intercept, standardised activations, a refit on all
training queries, a calibration split of its own) is lacking here too: this is the probe to beat.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from eval.baselines.base import Features, probability
from eval.baselines.published.logistic import LogisticPath
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
    AUROC, rates get ridge regression chosen by Spearman's correlation; neither has an intercept. The recipe's
    solver stops before the optimum, by its library's tolerance; here the optimum is found.

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
        columns = [_Column.of(column, order) for column in train.correct.T]
        best: dict[int, _Tried] = {}
        for place in range(self.slices):
            for k, tried in _tried(columns, sliced[:, place], place):
                if k not in best or tried.merit > best[k].merit:
                    best[k] = tried
        self.probes_: list[Probe | None] = [
            best[k].finished(column, sliced) if k in best else None for k, column in enumerate(columns)
        ]
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


@dataclass(frozen=True, eq=False)
class _Column:
    """One candidate's outcomes, and its training and validation rows."""

    correct: Floats
    train: np.ndarray[Any, Any]
    validation: np.ndarray[Any, Any]

    @classmethod
    def of(cls, correct: Floats, order: np.ndarray[Any, Any]) -> _Column:
        answered = order[~np.isnan(correct[order])]
        cut = len(answered) - round(VALIDATION * len(answered))
        return cls(correct, answered[:cut], answered[cut:])

    @property
    def binary(self) -> bool:
        seen = self.correct[~np.isnan(self.correct)]
        return bool(np.isin(seen, (0.0, 1.0)).all())

    @property
    def enough(self) -> bool:
        parts = (self.correct[self.train], self.correct[self.validation])
        return len(parts[0]) >= LEAST and all(len(np.unique(part)) > 1 for part in parts)

    def score(self, raw: Features) -> float:
        """AUROC of outcomes, Spearman's correlation of rates, on the validation rows."""
        truth = self.correct[self.validation]
        return auroc(raw, truth) if self.binary else spearman(raw, truth)


@dataclass(frozen=True, eq=False)
class _Tried:
    """A probe of one slice and strength, judged on validation rows."""

    slice: int
    alpha: float
    weights: Floats
    score: float

    @property
    def merit(self) -> tuple[float, int, float]:
        """Of equal scores the earlier slice wins, then the smaller alpha, as the recipe tries them."""
        return self.score, -self.slice, -self.alpha

    def finished(self, column: _Column, sliced: Features) -> Probe:
        """With Platt scaling for outcomes, which is fitted on the validation rows too."""
        raw = sliced[column.validation, self.slice] @ self.weights
        platt = _platt(raw, column.correct[column.validation]) if column.binary else None
        return Probe(self.slice, self.alpha, self.weights, platt, self.score)


def _tried(columns: Sequence[_Column], x: Features, place: int) -> Iterator[tuple[int, _Tried]]:
    """Every strength of every candidate that can be fitted, with the candidate's position."""
    able = [k for k, column in enumerate(columns) if column.enough]
    binary = [k for k in able if columns[k].binary]
    for found in (_logistic(columns, binary, x), _ridge(columns, [k for k in able if k not in binary], x)):
        for k, alpha, weights in found:
            score = columns[k].score(x[columns[k].validation] @ weights)
            yield k, _Tried(place, alpha, weights, score)


def _logistic(
    columns: Sequence[_Column], among: Sequence[int], x: Features
) -> Iterator[tuple[int, float, Floats]]:
    """Position, strength and weights of the candidates `among`, all of them solved together."""
    if not among:
        return
    seen = np.zeros((len(x), len(among)))
    for place, k in enumerate(among):
        seen[columns[k].train, place] = 1
    rows = np.flatnonzero(seen.any(axis=1))
    correct = np.column_stack([columns[k].correct[rows] for k in among])
    strongest_first = sorted(ALPHAS, reverse=True)
    path = LogisticPath(x[rows], correct, seen[rows])
    for alpha, weights in zip(strongest_first, path.weights(strongest_first), strict=True):
        yield from ((k, alpha, weights[:, place]) for place, k in enumerate(among))


def _ridge(
    columns: Sequence[_Column], among: Sequence[int], x: Features
) -> Iterator[tuple[int, float, Floats]]:
    """Position, strength and weights of the candidates `among`."""
    from sklearn.linear_model import Ridge

    for k in among:
        rows = columns[k].train
        for alpha in ALPHAS:
            fitted = Ridge(alpha, fit_intercept=False).fit(
                x[rows], columns[k].correct[rows].astype(np.float32)
            )
            yield k, alpha, fitted.coef_


def _platt(raw: Floats, correct: Floats) -> tuple[float, float]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(raw[:, None], correct)
    return float(model.coef_[0, 0]), float(model.intercept_[0])
