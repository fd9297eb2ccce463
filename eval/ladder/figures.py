"""Figures of a trial: the router at every threshold, how well it ranks, accuracy by family."""

from __future__ import annotations

from typing import Any

import numpy as np

from eval.ladder.trial import Trial
from eval.metrics.curves import Curve, sweep
from probes.metrics import auroc_within
from router.fit.knob import knob_values, with_knob
from router.policies import CandidateTable, Policy

_SETTINGS = 60
"""Knob settings on the drawn curve."""


def router_curve(trial: Trial, policy: Policy) -> Curve:
    """A policy at every setting of its knob, from the trial's own answers; the scout is paid each time."""
    table = CandidateTable(trial.success, trial.expected_cost_usd, trial.candidates)
    knobs = knob_values(policy, table, _SETTINGS)
    choices = np.array([with_knob(policy, float(knob)).choose(table).index for knob in knobs])
    return sweep(choices, trial.correct, trial.cost_usd + trial.scout_cost_usd[:, None], knobs)


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
