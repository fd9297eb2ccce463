"""Independent linear probes, one a candidate, and the same probes of shuffled labels.

Independent probes are what most published routers use; in large pools the largest of many noisy forecasts
picks the noise. Shuffled labels show what a router makes of nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Self

import numpy as np

from eval.baselines.base import Features, filled, probability
from eval.baselines.ridge import Ridge, fit_ridge
from eval.outcomes import Outcomes
from eval.queries import Queries
from eval.tables import Floats


class IndependentProbes:
    """Ridge from the scout's activations to each candidate's success."""

    needs_features = True

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, train: Outcomes, features: Features) -> Self:
        """Fit the probes; see `eval.baselines.base.Forecaster`."""
        self.ridge_: Ridge = fit_ridge(features, filled(train.correct), train.groups, seed=self.seed)
        return self

    def predict(self, queries: Queries, features: Features) -> Floats:
        """Success, shape (n, K)."""
        return probability(self.ridge_.predict(features))


class ShuffledLabels:
    """Independent probes fitted on outcomes that belong to other queries.

    Whole rows are shuffled, so that the candidates keep their levels and their correlations.
    """

    needs_features = True

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, train: Outcomes, features: Features) -> Self:
        """Fit the probes to shuffled outcomes."""
        order = np.random.default_rng(self.seed).permutation(len(train))
        shuffled = replace(train, correct=train.correct[order])
        self.probes_ = IndependentProbes(seed=self.seed).fit(shuffled, features)
        return self

    def predict(self, queries: Queries, features: Features) -> Floats:
        """Success, shape (n, K)."""
        return self.probes_.predict(queries, features)
