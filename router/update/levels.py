"""Levels: the mean success rate of a candidate on queries like those that a router was fitted on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from probes.estimators.solving.logistic import sigmoid
from probes.scoring.newcomer.onboarding import Prior
from router.policies.table import Floats, Ints
from router.router import Router
from router.update.answers import Answers

LABELS = (0, 20, 50, 100, 200)
"""Numbers of graded answers whose level error is told."""
N_DRAWS = 40
LEAST_RATE = 1e-3


@dataclass(frozen=True)
class LevelError:
    """How far the level is expected to be off with so many labels, in success rate."""

    n_labels: int
    error: float


def level_errors(
    answers: Answers, level_of: Callable[[Ints], float], found: float, seed: int
) -> tuple[LevelError, ...]:
    """Mean distance of a level from `found`, were it learnt from so many of the answers (bootstrap)."""
    if not len(answers):
        return ()
    rng = np.random.default_rng(seed)
    labelled = np.flatnonzero(np.isfinite(answers.correct))
    errors = []
    for n in sorted({*LABELS, len(labelled)}):
        levels = [level_of(rng.choice(labelled, n)) for _ in range(N_DRAWS if n else 1)]
        errors.append(LevelError(n, float(np.abs(np.array(levels) - found).mean())))
    return tuple(errors)


def shift_of(router: Router, answers: Answers) -> float:
    """How much harder (positive) the answered queries look than those of the fit, in logits of mean rates."""
    if not len(answers):
        return 0.0
    looks = router.scorer.score(answers.features).success.mean(axis=0)
    fitted = [router.fitted.success[name] for name in router.fitted.candidates]
    return float((logit_of(fitted) - logit_of(looks)).mean())


def level_at(success: Floats, shift: float) -> float:
    """Mean success on queries like those of the fit, of the success on queries that look `shift` harder."""
    return float(sigmoid(logit_of(success.mean()) + shift))


def prior_level(prior: Prior) -> float:
    """Mean success by the prior, scores taken as normal; source as in `probes.scoring.newcomer`."""
    variance = float(prior.mean[1:] @ prior.mean[1:])
    return float(sigmoid(prior.mean[0] / np.sqrt(1 + np.pi * variance / 8)))


def logit_of(rate: ArrayLike) -> Floats:
    """Logits of rates, which are kept `LEAST_RATE` from 0 and 1."""
    inside = np.clip(np.asarray(rate, dtype=np.float64), LEAST_RATE, 1 - LEAST_RATE)
    logit: Floats = np.log(inside / (1 - inside))
    return logit
