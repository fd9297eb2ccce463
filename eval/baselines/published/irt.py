"""Item response theory: one difficulty a query, read off the activations.

The two-parameter logistic model, ``logit P(candidate m is right on query i) = a_m + s_m theta_i`` with
``theta ~ N(0, 1)``, fitted by marginal maximum likelihood (Bock & Aitkin 1981, Psychometrika 46(4)), and a
regression of the queries' theta on the activations, so that new queries have one too. Here queries are what
is measured and candidates are the test's items; routers by IRT (arXiv 2506.01048 and paper A's baseline)
swap the names, which for one dimension is the same model.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from eval.baselines.base import Features, probability
from eval.baselines.ridge import Ridge, fit_ridge
from eval.outcomes import Outcomes
from eval.queries import Queries
from eval.tables import Floats
from probes.estimators.solving.logistic import fit_logistic, sigmoid

NODES = 31
STEPS = 200
TOLERANCE = 1e-3
PRIOR_MEAN = np.array([0.0, 1.0])
PRIOR_SD = np.array([3.0, 1.0])
"""Of level and slope."""


class ItemResponse:
    """Two-parameter logistic IRT with ridge regression of theta on the scout's activations."""

    needs_features = True

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, train: Outcomes, features: Features) -> Self:
        """Fit levels and slopes, then the regression."""
        self.level_, self.slope_, theta = fit_two_parameter(train.correct, train.samples)
        # Posterior means are pulled towards 0 by their reliability, which is their variance: undone here.
        reliability = max(float(theta.var()), 0.05)
        self.ridge_: Ridge = fit_ridge(features, theta[:, None] / reliability, train.groups, seed=self.seed)
        fitted = self.ridge_.predict(features)[:, 0]
        # What the activations leave open of a theta whose variance is 1.
        self.open_ = float(np.clip(1 - fitted.var(), 0.05, 1.0))
        return self

    def predict(self, queries: Queries, features: Features) -> Floats:
        """Success, shape (n, K): averaged over what is open, by MacKay 1992, eq. 10."""
        theta = self.ridge_.predict(features)
        widened = np.sqrt(1 + np.pi * self.slope_**2 * self.open_ / 8)
        return probability(sigmoid((self.level_ + theta * self.slope_) / widened))


def fit_two_parameter(correct: Floats, trials: Floats) -> tuple[Floats, Floats, Floats]:
    """Levels [K], slopes [K] and each query's posterior mean theta [n], by EM over Gauss-Hermite nodes.

    Parameters
    ----------
    correct, trials : ndarray of shape (n, K)
        Success rates, NaN where missing, and draws behind each.
    """
    weight = np.where(np.isnan(correct), 0.0, np.maximum(trials, 1.0))
    right = weight * np.nan_to_num(correct)
    wrong = weight - right
    nodes, mass = np.polynomial.hermite_e.hermegauss(NODES)
    mass = mass / mass.sum()
    design = np.column_stack([np.ones(NODES), nodes])
    known = np.maximum(weight.sum(axis=0), 1)
    mean = np.clip(right.sum(axis=0) / known, 0.01, 0.99)
    items = np.column_stack([np.log(mean / (1 - mean)), np.ones(len(mean))])
    posterior = np.tile(mass, (len(correct), 1))
    for _ in range(STEPS):
        logit = items @ design.T  # [K, nodes]
        each = -right @ np.logaddexp(0, -logit) - wrong @ np.logaddexp(0, logit) + np.log(mass)
        posterior = np.exp(each - each.max(axis=1, keepdims=True))
        posterior /= posterior.sum(axis=1, keepdims=True)
        at, hits = weight.T @ posterior, right.T @ posterior  # [K, nodes]
        rate = np.divide(hits, at, out=np.full_like(hits, 0.5), where=at > 0)
        moved = np.array(
            [
                fit_logistic(design, rate[m], at[m], prior_mean=PRIOR_MEAN, prior_sd=PRIOR_SD)
                for m in range(len(items))
            ]
        )
        change = float(np.abs(moved - items).max())
        items = moved
        if change < TOLERANCE:
            break
    return items[:, 0], items[:, 1], posterior @ nodes
