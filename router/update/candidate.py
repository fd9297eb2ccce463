"""A candidate that a router has not been fitted for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from probes.errors import UsageError
from probes.estimators.solving.logistic import sigmoid
from probes.scoring.newcomer.onboarding import fit_newcomer, prior_of
from probes.scoring.newcomer.surprise import surprise_of
from router.configuration.pool import Pool
from router.policies.table import Ints
from router.router import Router
from router.update.answers import Answers
from router.update.levels import level_at, level_errors, prior_level, shift_of
from router.update.report import NewcomerReport, joined


def add_candidate(
    router: Router, name: str, answers: Answers, level: float | None, pool: Pool | None, seed: int
) -> tuple[Router, NewcomerReport]:
    """The router with one candidate more; see `router.update.newcomer.add`."""
    described = router.pool if pool is None else pool
    if name not in described.names:
        raise UsageError(
            f"No pool describes {name!r}: the router's has {', '.join(described.names)}.",
            param="candidate",
            hint="Add the candidate to a pool file and name that: --pool pool.yaml.",
        )
    told = np.isfinite(answers.pool_correct).any()
    scorer, canary = router.scorer.add_candidate(
        answers.features,
        answers.correct,
        trials=answers.trials,
        output_tokens=answers.output_tokens if np.isfinite(answers.output_tokens).any() else None,
        pool_correct=answers.pool_correct if told else None,
        expected_rate=level,
        seed=seed,
    )
    probes = scorer.probes
    scores = probes.scores(answers.features) if len(answers) else np.empty((0, len(probes.offsets)))
    prior = prior_of(router.scorer.probes, level)
    surprise = surprise_of(router.scorer.probes, scores, answers.pool_correct) if told else None
    shift = shift_of(router, answers)

    def level_of(rows: Ints) -> float:
        some = surprise._replace(excess=surprise.excess[rows]) if surprise and len(rows) else None
        fitted = fit_newcomer(
            prior, scores[rows], answers.correct[rows], np.minimum(answers.trials[rows], 1.0), some
        )
        return level_at(sigmoid(scores @ fitted[1:] + fitted[0]), shift)

    if len(answers):
        found = level_at(sigmoid(scores @ probes.loadings[:, -1] + probes.level[-1]), shift)
    else:
        found = prior_level(prior) if level is None else level
    typical = float(np.exp(np.mean(np.log(np.maximum(list(router.fitted.output_tokens.values()), 1.0)))))
    report = NewcomerReport(
        name,
        "candidate",
        answers.n_graded,
        found,
        None,
        answers.mean_length(typical),
        canary,
        level_errors(answers, level_of, found, seed),
    )
    fitted = replace(router.fitted, candidates=(*router.fitted.candidates, name))
    return joined(router, described, scorer, fitted, report), report
