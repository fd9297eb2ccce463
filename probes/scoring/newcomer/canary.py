"""Whether a candidate's queries are still ranked by what was known before its answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from probes.estimators.solving.logistic import sigmoid
from probes.metrics import auroc

Floats = npt.NDArray[np.float64]

N_BOOTSTRAP = 400
TOLERATED_LOSS = 0.02
"""AUROC below what is expected that does not yet call for a new fit."""


@dataclass(frozen=True)
class Canary:
    """Whether the old directions still rank a candidate's queries.

    Attributes
    ----------
    verdict
        ``ranks``: they do, about as well as they should. ``weaker``: clearly less well; fit
        the bank again. ``unknown``: too few labels to say.
    auroc, low, high
        Of the old ranking on the new labels, with its 95% bootstrap interval; NaN without labels of
        both classes.
    expected
        What the AUROC would be, were the success probabilities exactly right.
    n_labels
        Labels seen.
    """

    verdict: Literal["ranks", "weaker", "unknown"]
    auroc: float
    low: float
    high: float
    expected: float
    n_labels: int


def canary_of(old: Floats, rate: Floats, weight: Floats, seed: int) -> Canary:
    """Whether logits that were there before the labels rank them.

    Parameters
    ----------
    old
        Logits [n].
    rate, weight
        Success rates and effective draws [n], weight 0 where missing.
    seed
        For the bootstrap.
    """
    seen = weight > 0
    old, rate = old[seen], rate[seen]
    value = auroc(old, rate)
    expected = auroc(old, sigmoid(old))
    if np.isnan(value):
        return Canary("unknown", value, value, value, expected, int(seen.sum()))
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(old), size=(N_BOOTSTRAP, len(old)))
    resampled = np.array([auroc(old[rows], rate[rows]) for rows in draws])
    low, high = (float(edge) for edge in np.nanquantile(resampled, [0.025, 0.975]))
    if high < expected - TOLERATED_LOSS:
        return Canary("weaker", value, low, high, expected, len(old))
    return Canary("ranks" if low > 0.5 else "unknown", value, low, high, expected, len(old))
