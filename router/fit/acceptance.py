"""The bar of a cascade, set on graded answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from router.fit.knob import DROP, Outcome
from router.policies.cascade import Cascade
from router.policies.table import Floats


def set_accept(
    cascade: Cascade,
    names: Sequence[str],
    confidence: Floats,
    outcome: Outcome,
    best: int,
    *,
    drop: float = DROP,
) -> Cascade | None:
    """The cheapest bar that keeps the accuracy of the best single candidate less `drop`; None if none does.

    To be called with the calibration split.
    """
    target = float(outcome.correct[:, best].mean()) - drop
    tried = np.unique(np.quantile(confidence, np.linspace(0.0, 1.0, 101)))
    settings = [replace(cascade, accept=float(bar)) for bar in np.clip(np.r_[0.0, tried, 1.0], 0.0, 1.0)]
    judged = [(setting, setting.judge(names, confidence, outcome)) for setting in settings]
    enough = [(float(j.cost_usd.mean()), s) for s, j in judged if j.correct.mean() >= target - 1e-12]
    return min(enough, key=lambda pair: pair[0])[1] if enough else None
