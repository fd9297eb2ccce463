"""Success from words: TF-IDF and ridge, the usual text baseline."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from eval.baselines.base import Features, filled, probability, texts
from eval.baselines.ridge import a_fifth
from eval.outcomes import Outcomes
from eval.queries import Queries
from eval.tables import Floats

PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0)
"""Ridge penalties tried."""


class TfIdf:
    """Ridge on TF-IDF of words and word pairs, its penalty chosen on a held-out fifth of the groups.

    Parameters
    ----------
    seed : int
        Which fifth.
    """

    needs_features = False

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, train: Outcomes, features: Features) -> Self:
        """Fit; the scout's activations are not looked at."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        corpus = texts(train.queries)
        self.vectorizer_: Any = TfidfVectorizer(
            sublinear_tf=True,
            ngram_range=(1, 2),
            min_df=2 if len(corpus) > 50 else 1,
            max_features=50_000,
            token_pattern=r"(?u)\b\w+\b|[^\w\s]",
            dtype=np.float32,
        )
        words = self.vectorizer_.fit_transform(corpus)
        outcomes = filled(train.correct)
        out = a_fifth(train.groups, self.seed)
        self.penalty_ = 3.0
        if out.any() and not out.all():
            losses = []
            for penalty in PENALTIES:
                forecast = self._solve(words[~out], outcomes[~out], penalty).predict(words[out])
                losses.append(np.square(forecast.reshape(out.sum(), -1) - outcomes[out]).mean())
            self.penalty_ = PENALTIES[int(np.argmin(losses))]
        self.model_ = self._solve(words, outcomes, self.penalty_)
        return self

    def predict(self, queries: Queries, features: Features) -> Floats:
        """Success, shape (n, K)."""
        forecast = self.model_.predict(self.vectorizer_.transform(texts(queries)))
        return probability(forecast.reshape(len(queries), -1))

    @staticmethod
    def _solve(words: Any, outcomes: Floats, penalty: float) -> Any:
        from sklearn.linear_model import Ridge

        return Ridge(penalty, solver="sparse_cg", tol=1e-3).fit(words, outcomes.astype(np.float32))
