"""A new candidate joins a fitted router, or a new checkpoint takes an old one's place: few labels, or none.

What the probes know of difficulty holds for candidates that they have never seen; only a level and slopes
are new (`probes.scoring.newcomer.onboarding`). The policies' knobs stay as they were set for the old pool.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from probes.errors import DataError, UsageError
from probes.estimators.solving.logistic import sigmoid
from probes.scoring.newcomer.canary import Canary
from probes.scoring.newcomer.onboarding import Prior, fit_line, fit_newcomer, prior_of
from probes.scoring.newcomer.surprise import surprise_of
from probes.scoring.scorer import Scorer
from router.configuration.pool import Pool
from router.fitted import Fitted
from router.policies.table import Floats, Ints
from router.router import Router

LABELS = (0, 20, 50, 100, 200)
"""Numbers of graded answers whose level error is told."""
N_DRAWS = 40
LEAST_RATE = 1e-3


@dataclass(frozen=True, eq=False)
class Answers:
    """Graded answers of one candidate to n queries.

    Attributes
    ----------
    features : ndarray of shape (n, F)
        The queries' activations.
    correct, trials : ndarray of shape (n,)
        Share of right draws in [0, 1], and draws behind it.
    output_tokens : ndarray of shape (n,)
        NaN where unknown.
    pool_correct : ndarray of shape (n, K)
        What the router's candidates, in its order, did on the same queries; NaN where unknown.
    """

    features: np.ndarray[Any, np.dtype[np.float32]]
    correct: Floats
    trials: Floats
    output_tokens: Floats
    pool_correct: Floats

    def __len__(self) -> int:
        return len(self.features)

    @classmethod
    def none(cls, router: Router) -> Answers:
        """No answer at all."""
        scorer = router.scorer
        empty, shape = np.empty(0), (0, scorer.n_candidates)
        return cls(np.empty((0, scorer.n_features), np.float32), empty, empty, empty, np.empty(shape))


@dataclass(frozen=True)
class LevelError:
    """How far the level is expected to be off with so many labels, in success rate."""

    n_labels: int
    error: float


@dataclass(frozen=True)
class NewcomerReport:
    """What is known about a candidate that joined.

    Attributes
    ----------
    candidate : str
        Its name.
    kind : str
        ``candidate`` or ``checkpoint``.
    n_labels : int
        Graded answers.
    level : float
        Expected success rate on queries like those that the router was fitted on.
    level_before : float or None
        The old checkpoint's.
    output_tokens : float
        Expected mean length of an answer.
    canary : Canary
        Whether the old directions rank its answers.
    errors : tuple of LevelError
        Expected error of the level, by number of labels; those above `n_labels` are what more would bring.
    """

    candidate: str
    kind: Literal["candidate", "checkpoint"]
    n_labels: int
    level: float
    level_before: float | None
    output_tokens: float
    canary: Canary
    errors: tuple[LevelError, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self)


def add(
    router: Router,
    name: str,
    answers: Answers | None = None,
    *,
    pool: Pool | None = None,
    level: float | None = None,
    seed: int = 0,
) -> tuple[Router, NewcomerReport]:
    """A router with one candidate more, or with a new checkpoint of a candidate that it has.

    Parameters
    ----------
    router : Router
        As it was fitted; it is not changed.
    name : str
        The candidate. Where the router has been fitted for it, this is a new checkpoint of it.
    answers : Answers, optional
        Graded answers, if there are any.
    pool : Pool, optional
        Where the new candidate is described; its scout must be the router's.
    level : float, optional
        A forecast of its success rate, in (0, 1).
    seed : int
        Of bootstraps.

    Raises
    ------
    UsageError
        A new candidate that no pool describes, a level out of range, or nothing is known of a checkpoint.
    DataError
        Answers that are malformed.
    """
    if level is not None and not LEAST_RATE <= level <= 1 - LEAST_RATE:
        raise UsageError(
            f"A level must lie between {LEAST_RATE} and {1 - LEAST_RATE}, not {level}.", param="level"
        )
    known = answers if answers is not None else Answers.none(router)
    if len(known) and not np.isfinite(known.correct).any():
        raise DataError(f"There is no graded answer of {name!r}.", param="correct")
    if name in router.fitted.candidates:
        return _checkpoint(router, name, known, level, pool, seed)
    return _candidate(router, name, known, level, pool, seed)


def _candidate(
    router: Router, name: str, answers: Answers, level: float | None, pool: Pool | None, seed: int
) -> tuple[Router, NewcomerReport]:
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
    shift = _shift(router, answers)

    def level_of(rows: Ints) -> float:
        some = surprise._replace(excess=surprise.excess[rows]) if surprise and len(rows) else None
        fitted = fit_newcomer(
            prior, scores[rows], answers.correct[rows], np.minimum(answers.trials[rows], 1.0), some
        )
        return _rate(sigmoid(scores @ fitted[1:] + fitted[0]), shift)

    if len(answers):
        found = _rate(sigmoid(scores @ probes.loadings[:, -1] + probes.level[-1]), shift)
    else:
        found = _prior_rate(prior) if level is None else level
    typical = float(np.exp(np.mean(np.log(np.maximum(list(router.fitted.output_tokens.values()), 1.0)))))
    report = NewcomerReport(
        name,
        "candidate",
        _count(answers),
        found,
        None,
        _length(answers, typical),
        canary,
        _errors(answers, level_of, found, seed),
    )
    fitted = replace(router.fitted, candidates=(*router.fitted.candidates, name))
    return _with(router, described, scorer, fitted, report), report


def _checkpoint(
    router: Router, name: str, answers: Answers, level: float | None, pool: Pool | None, seed: int
) -> tuple[Router, NewcomerReport]:
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
            _logit(one.score(answers.features).success[:, column].astype(np.float64))
            for one in (router.scorer, start, scorer)
        )
        shift = float(_logit(before) - _logit(sigmoid(past).mean()))
        found = _rate(sigmoid(new), shift)
    else:
        scorer, canary, found = start, _no_canary(), before if level is None else level
        old, shift = np.empty(0), 0.0

    def level_of(rows: Ints) -> float:
        line = fit_line(old[rows], answers.correct[rows], np.minimum(answers.trials[rows], 1.0))
        return _rate(sigmoid(line[0] + line[1] * old), shift)

    report = NewcomerReport(
        name,
        "checkpoint",
        _count(answers),
        found,
        before,
        _length(answers, float(router.fitted.output_tokens[name])),
        canary,
        _errors(answers, level_of, found, seed),
    )
    return _with(router, router.pool if pool is None else pool, scorer, router.fitted, report), report


def _with(router: Router, pool: Pool, scorer: Scorer, fitted: Fitted, report: NewcomerReport) -> Router:
    name = report.candidate
    fitted = replace(
        fitted,
        success={**fitted.success, name: report.level},
        output_tokens={**fitted.output_tokens, name: report.output_tokens},
    )
    entry = {"candidate": name, "kind": report.kind, "labels": report.n_labels}
    entry |= {"level": report.level, "verdict": report.canary.verdict}
    record = {**router.record, "added": [*router.record.get("added", ()), entry]}
    return Router(pool, scorer, fitted, router.identity, record=record)


def _errors(
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


def _shift(router: Router, answers: Answers) -> float:
    """How much harder (positive) the answered queries look than those of the fit, in logits of mean rates."""
    if not len(answers):
        return 0.0
    looks = router.scorer.score(answers.features).success.mean(axis=0)
    fitted = [router.fitted.success[name] for name in router.fitted.candidates]
    return float((_logit(fitted) - _logit(looks)).mean())


def _rate(success: Floats, shift: float) -> float:
    """Mean success on queries like those of the fit, of the success on queries that look `shift` harder."""
    return float(sigmoid(_logit(success.mean()) + shift))


def _prior_rate(prior: Prior) -> float:
    """Mean success by the prior, scores taken as normal; source as in `probes.scoring.newcomer`."""
    variance = float(prior.mean[1:] @ prior.mean[1:])
    return float(sigmoid(prior.mean[0] / np.sqrt(1 + np.pi * variance / 8)))


def _moved(scorer: Scorer, column: int, before: float, level: float) -> Scorer:
    """A scorer in which one candidate's mean success is about `level`: its logits are moved by a constant."""
    variance = float((scorer.probes.loadings[:, column] ** 2).sum())
    shift = float(_logit(level) - _logit(before)) * float(np.sqrt(1 + np.pi * variance / 8))
    return replace(scorer, calibrator=scorer.calibrator.adjusted(column, shift, 1.0))


def _logit(rate: ArrayLike) -> Floats:
    inside = np.clip(np.asarray(rate, dtype=np.float64), LEAST_RATE, 1 - LEAST_RATE)
    logit: Floats = np.log(inside / (1 - inside))
    return logit


def _no_canary() -> Canary:
    nothing = float("nan")
    return Canary("unknown", nothing, nothing, nothing, nothing, 0)


def _count(answers: Answers) -> int:
    return int(np.isfinite(answers.correct).sum())


def _length(answers: Answers, otherwise: float) -> float:
    told = answers.output_tokens[np.isfinite(answers.output_tokens)]
    return float(told.mean()) if len(told) else otherwise
