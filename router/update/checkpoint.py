"""A new checkpoint of a candidate that a router has been fitted for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from probes.errors import UsageError
from probes.estimators.solving.logistic import sigmoid
from probes.scoring.newcomer.canary import Canary
from probes.scoring.newcomer.onboarding import fit_line
from probes.scoring.scorer import Scorer
from router.configuration.pool import Pool
from router.policies.table import Ints
from router.router import Router
from router.update.answers import Answers
from router.update.levels import level_at, level_errors, logit_of
from router.update.report import NewcomerReport, joined


def replace_checkpoint(
    router: Router, name: str, answers: Answers, level: float | None, pool: Pool | None, seed: int
) -> tuple[Router, NewcomerReport]:
    """The router with the checkpoint in its candidate's place; see `router.update.newcomer.add`."""
    column = router.fitted.candidates.index(name)
    before = float(router.fitted.success[name])
    if not len(answers) and level is None:
        raise UsageError(
            f"{name!r} is in the router already, and nothing is known of its new checkpoint.",
            param="outcomes",
            hint="Give graded answers (--outcomes) or a forecast of its success rate (--level).",
        )
    start = router.scorer if level is None else _moved(router.scorer, column, before, level)
    if len(answers):
        correct = np.full((len(answers), start.n_candidates), np.nan)
        trials, lengths = np.zeros_like(correct), np.full_like(correct, np.nan)
        correct[:, column], trials[:, column] = answers.correct, answers.trials
        lengths[:, column] = answers.output_tokens
        scorer, canaries = start.recalibrate(
            answers.features, correct, trials=trials, output_tokens=lengths, seed=seed
        )
        canary = canaries[column]
        past, old, new = (
            logit_of(one.score(answers.features).success[:, column].astype(np.float64))
            for one in (router.scorer, start, scorer)
        )
        shift = float(logit_of(before) - logit_of(sigmoid(past).mean()))
        found = level_at(sigmoid(new), shift)
    else:
        scorer, canary, found = start, _no_canary(), before if level is None else level
        old, shift = np.empty(0), 0.0

    def level_of(rows: Ints) -> float:
        line = fit_line(old[rows], answers.correct[rows], np.minimum(answers.trials[rows], 1.0))
        return level_at(sigmoid(line[0] + line[1] * old), shift)

    report = NewcomerReport(
        name,
        "checkpoint",
        answers.n_graded,
        found,
        before,
        answers.mean_length(float(router.fitted.output_tokens[name])),
        canary,
        level_errors(answers, level_of, found, seed),
    )
    return joined(router, router.pool if pool is None else pool, scorer, router.fitted, report), report


def _moved(scorer: Scorer, column: int, before: float, level: float) -> Scorer:
    """A scorer in which one candidate's mean success is about `level`: its logits are moved by a constant."""
    variance = float((scorer.probes.loadings[:, column] ** 2).sum())
    shift = float(logit_of(level) - logit_of(before)) * float(np.sqrt(1 + np.pi * variance / 8))
    return replace(scorer, calibrator=scorer.calibrator.adjusted(column, shift, 1.0))


def _no_canary() -> Canary:
    nothing = float("nan")
    return Canary("unknown", nothing, nothing, nothing, nothing, 0)
