"""Figures of a trial: the router at every threshold, how well it ranks, accuracy by family."""

from __future__ import annotations

from typing import Any

import numpy as np

from eval.ladder.trial import Trial
from eval.metrics.curves import Curve, sweep
from probes.metrics import auroc_within
from router.policies import CandidateTable, CheapestLikely

_SETTINGS = 60
"""Knob settings on the drawn curve."""


def router_curve(trial: Trial) -> Curve:
    """The cheapest-likely policy at every threshold, from the trial's own answers; the scout is paid."""
    table = CandidateTable(trial.success, trial.expected_cost_usd, trial.candidates)
    thresholds = np.unique(np.quantile(trial.success, np.linspace(0, 1, _SETTINGS)))
    choices = np.array([CheapestLikely(float(t)).choose(table).index for t in thresholds])
    return sweep(choices, trial.correct, trial.cost_usd + trial.scout_cost_usd[:, None], thresholds)


def separation(trial: Trial) -> dict[str, dict[str, float]]:
    """AUROC within families of each candidate's probe and of the prompt's length."""
    families = [q.family for q in trial.questions]
    length = -np.array([len(q.prompt) for q in trial.questions], dtype=np.float64)
    return {
        name: {
            "probe": float(auroc_within(trial.success[:, k], trial.correct[:, k], families)),
            "length": float(auroc_within(length, trial.correct[:, k], families)),
        }
        for k, name in enumerate(trial.candidates)
    }


def by_family(trial: Trial) -> dict[str, dict[str, Any]]:
    """Accuracy of every candidate in every family."""
    families = np.array([q.family for q in trial.questions])
    return {
        str(family): dict(
            zip(trial.candidates, trial.correct[families == family].mean(axis=0).tolist(), strict=True)
        )
        for family in np.unique(families)
    }
