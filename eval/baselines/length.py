"""Success from the prompt's length alone: the simplest thing that could work."""

from __future__ import annotations

from typing import Self

import numpy as np

from eval.baselines.base import Features, filled, probability, texts
from eval.baselines.ridge import Ridge, fit_ridge
from eval.outcomes import Outcomes
from eval.queries import Queries
from eval.tables import Floats


class PromptLength:
    """Ridge on the logarithm of characters, words and lines, and its square."""

    needs_features = False

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, train: Outcomes, features: Features) -> Self:
        """Fit; the scout's activations are not looked at."""
        sizes = self._sizes(train.queries)
        self.ridge_: Ridge = fit_ridge(sizes, filled(train.correct), train.groups, seed=self.seed)
        return self

    def predict(self, queries: Queries, features: Features) -> Floats:
        """Success, shape (n, K)."""
        return probability(self.ridge_.predict(self._sizes(queries)))

    @staticmethod
    def _sizes(queries: Queries) -> Features:
        counts = [(len(text), len(text.split()), text.count("\n")) for text in texts(queries)]
        logs = np.log1p(np.array(counts, dtype=np.float32))
        return np.asarray(np.hstack([logs, logs[:, :2] ** 2]), dtype=np.float32)
