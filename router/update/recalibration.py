"""Levels and slopes from rated answers: what people say, against what was predicted for the same answers.

Only two numbers a candidate are new; the directions that the probes read stay. So neither prompts nor
activations are needed, but the predictions must be those of this very fit (`router.version`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from probes.errors import DataError, UsageError
from probes.estimators.solving.logistic import sigmoid
from probes.metrics import brier, ece, log_loss
from probes.scoring.newcomer.canary import Canary
from probes.scoring.newcomer.onboarding import Line, refit_line
from probes.splits import grouped_folds
from router.router import Router

Floats = npt.NDArray[np.float64]

LEAST_LABELS = 30
"""Fewer labels than this leave a candidate as it is."""
N_FOLDS = 5
_EDGE = 1e-6


@dataclass(frozen=True)
class Rated:
    """Rated answers of one candidate.

    Attributes
    ----------
    predicted
        Success probabilities at the time of the decision [n].
    correct
        Ratings in [0, 1] [n].
    """

    predicted: Floats
    correct: Floats


@dataclass(frozen=True)
class Quality:
    """How good probabilities are.

    Attributes
    ----------
    predicted
        Their mean.
    ece, brier, log_loss
        As in `probes.metrics`.
    """

    predicted: float
    ece: float
    brier: float
    log_loss: float

    @classmethod
    def of(cls, predicted: Floats, correct: Floats) -> Quality:
        """Of probabilities against ratings, both [n]."""
        return cls(
            float(predicted.mean()),
            ece(predicted, correct),
            brier(predicted, correct),
            log_loss(predicted, correct),
        )


@dataclass(frozen=True)
class Change:
    """What became of one candidate.

    Attributes
    ----------
    n_labels
        Rated answers.
    observed
        Their mean rating; NaN without any.
    before, after
        Quality on these answers; `after` on folds that the new numbers were not fitted to. None below
        the least number of labels.
    adjusted
        Whether the new numbers are taken: only if they lower the held-out log loss by more than a standard
        error.
    level, slope
        New logit = level + slope * old logit; (0, 1) where nothing is adjusted.
    canary
        Whether the old ranking still holds; None below the least number of labels.
    """

    n_labels: int
    observed: float
    before: Quality | None = None
    after: Quality | None = None
    adjusted: bool = False
    level: float = 0.0
    slope: float = 1.0
    canary: Canary | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self)


def recalibrate(
    router: Router, rated: Mapping[str, Rated], *, at: str, least: int = LEAST_LABELS, seed: int = 0
) -> tuple[Router, dict[str, Change]]:
    """A router whose probabilities fit rated answers.

    Parameters
    ----------
    router
        The fit that made the predictions.
    rated
        By candidate.
    at
        When, for the artefact's record (ISO 8601).
    least
        Labels that a candidate needs.
    seed
        Of folds and bootstraps.

    Returns
    -------
    Router, dict of str to Change
        The router (the old one's equal where nothing was adjusted), and what became of each candidate.

    Raises
    ------
    UsageError
        No candidate has labels enough.
    DataError
        A prediction or a rating is not in [0, 1].
    """
    changes = {name: Change(0, float("nan")) for name in router.fitted.candidates}
    for name in changes.keys() & rated.keys():
        changes[name] = _change(_checked(name, rated[name]), least, seed)
    most = max(change.n_labels for change in changes.values())
    if most < least:
        raise UsageError(
            f"There are too few rated answers: the most that a candidate has is {most}; it needs {least}.",
            param="min_labels",
            hint="Send more feedback (POST /v1/feedback), or lower --min-labels.",
        )
    return _adjusted(router, changes, at), changes


def _adjusted(router: Router, changes: Mapping[str, Change], at: str) -> Router:
    taken = {name: change for name, change in changes.items() if change.adjusted}
    calibrator = router.scorer.calibrator
    for name, change in taken.items():
        column = router.fitted.candidates.index(name)
        calibrator = calibrator.adjusted(column, change.level, change.slope)
    record = dict(router.record)
    if taken:
        numbers = {name: [change.n_labels, change.level, change.slope] for name, change in taken.items()}
        record["recalibrated"] = [*record.get("recalibrated", ()), {"at": at, "candidates": numbers}]
    scorer = replace(router.scorer, calibrator=calibrator)
    return Router(router.pool, scorer, router.fitted, router.identity, record=record)


def _checked(name: str, rated: Rated) -> Rated:
    for values in (rated.predicted, rated.correct):
        if not ((values >= 0) & (values <= 1)).all():
            raise DataError(f"A prediction or rating of {name!r} is not in [0, 1].", param="correct")
    return Rated(np.clip(rated.predicted, _EDGE, 1 - _EDGE), rated.correct)


def _change(rated: Rated, least: int, seed: int) -> Change:
    n = len(rated.correct)
    observed = float(rated.correct.mean()) if n else float("nan")
    if n < max(least, 2 * N_FOLDS):
        return Change(n, observed)
    old = np.log(rated.predicted / (1 - rated.predicted))
    held_out = np.empty(n)
    fold = grouped_folds(np.arange(n), N_FOLDS, seed)
    for k in range(N_FOLDS):
        line = _line(old[fold != k], rated.correct[fold != k], seed)
        held_out[fold == k] = sigmoid(line.level + line.slope * old[fold == k])
    gain = _losses(rated.predicted, rated.correct) - _losses(held_out, rated.correct)
    before, after = (Quality.of(p, rated.correct) for p in (rated.predicted, held_out))
    found = _line(old, rated.correct, seed)
    if not gain.sum() > np.sqrt(n) * gain.std():
        return Change(n, observed, before, after, canary=found.canary)
    return Change(n, observed, before, after, True, found.level, found.slope, found.canary)


def _line(old: Floats, correct: Floats, seed: int) -> Line:
    return refit_line(old, correct, np.ones_like(old), seed=seed)


def _losses(predicted: Floats, correct: Floats) -> Floats:
    """Negative log-likelihood of each answer, nats."""
    losses: Floats = -(correct * np.log(predicted) + (1 - correct) * np.log1p(-predicted))
    return losses
