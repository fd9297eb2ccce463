"""How much better or worse a pool did on queries than its probes say, and what that tells of a newcomer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from probes.errors import UsageError
from probes.estimators.linear import LinearProbes
from probes.estimators.outcomes import as_targets
from probes.estimators.solving.logistic import fit_logistic, sigmoid

Floats = npt.NDArray[np.float64]

WORTH = (4.0, 4.0)
"""Prior mean and spread of what the pool's mean surprise is worth, in logits per unit of rate."""


class Surprise(NamedTuple):
    """How much better the pool did on each query than its probes say [n], and its worth in logits."""

    excess: Floats
    worth: float
    worth_sd: float


def surprise_of(probes: LinearProbes, scores: Floats, pool_correct: npt.ArrayLike) -> Surprise:
    """What the pool's outcomes say beyond the probes; its worth is what it is for each old candidate."""
    rate, weight = as_targets(pool_correct, None, len(scores))
    if rate.shape[1] != probes.n_candidates:
        raise UsageError(
            f"The pool's outcomes are of {rate.shape[1]} candidates, not {probes.n_candidates}",
            param="pool_correct",
        )
    logit = scores @ probes.loadings + probes.level
    residual = weight * (rate - sigmoid(logit))
    total, count = residual.sum(axis=1), weight.sum(axis=1)
    worth = []
    for m in range(probes.n_candidates):
        others = (total - residual[:, m]) / np.maximum(count - weight[:, m], 1)
        design = np.column_stack([np.ones_like(others), logit[:, m], others])
        prior_mean, prior_sd = np.array([0.0, 1.0, WORTH[0]]), np.array([1.0, 0.5, WORTH[1]])
        fitted = fit_logistic(design, rate[:, m], weight[:, m], prior_mean=prior_mean, prior_sd=prior_sd)
        worth.append(fitted[2])
    sd = float(np.std(worth)) if len(worth) > 1 else WORTH[1]
    return Surprise(total / np.maximum(count, 1), float(np.mean(worth)), max(sd, 0.5))
