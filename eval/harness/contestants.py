"""Who competes: routers by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from eval.baselines.base import Features, Forecaster, probability
from eval.baselines.length import PromptLength
from eval.baselines.linear import IndependentProbes, ShuffledLabels
from eval.baselines.neighbours import Neighbours
from eval.baselines.published.factors import Factorisation
from eval.baselines.published.irt import ItemResponse
from eval.baselines.published.recipe import RecipeProbes
from eval.baselines.published.trunk import TrunkEnsemble
from eval.baselines.words import TfIdf
from eval.outcomes import Outcomes
from eval.queries import Queries
from eval.tables import Floats


class Foresight:
    """The project's own probe bank behind the interface of the baselines."""

    needs_features = True

    def fit(self, train: Outcomes, features: Features) -> Self:
        """Fit the bank on the training split."""
        from probes.estimators.bank import ProbeBank

        self.bank_ = ProbeBank().fit(features, train.correct, trials=train.samples, groups=list(train.groups))
        return self

    def predict(self, queries: Queries, features: Features) -> Floats:
        """Success, shape (n, K)."""
        return probability(self.bank_.predict_proba(features))


ROUTERS: dict[str, Callable[[int, int], Forecaster]] = {
    "foresight": lambda seed, slices: Foresight(),
    "independent": lambda seed, slices: IndependentProbes(seed=seed),
    "knn": lambda seed, slices: Neighbours(),
    "tfidf": lambda seed, slices: TfIdf(seed=seed),
    "length": lambda seed, slices: PromptLength(seed=seed),
    "shuffled": lambda seed, slices: ShuffledLabels(seed=seed),
    "recipe": lambda seed, slices: RecipeProbes(slices=slices),
    "trunk": lambda seed, slices: TrunkEnsemble(seed=seed),
    "irt": lambda seed, slices: ItemResponse(seed=seed),
    "factors": lambda seed, slices: Factorisation(seed=seed),
}
"""Forecasters by name, made for a seed and for features of so many slices (layers times positions)."""

PUBLISHED = ("recipe", "trunk", "irt", "factors")
"""Slower routers of the literature: they compete where they are named."""

MIXTURES = ("random", "hull")
"""Coin tosses: between the cheapest and the best candidate, and along the singles' convex hull."""

NEEDS_SCOUT = frozenset({"foresight", "independent", "knn", "shuffled", *PUBLISHED})
"""Routers that read activations."""


def make_forecaster(name: str, seed: int, slices: int = 1) -> Forecaster:
    """A fresh forecaster."""
    return ROUTERS[name](seed, slices)
