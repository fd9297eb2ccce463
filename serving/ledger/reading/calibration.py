"""Predicted against observed success: what feedback says of the probes.

Only answers that somebody rated count, and only for the candidate that gave them. That is fair to the probes
as long as who is rated does not hang on how good the answer was; where mostly failures are told, it is not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sqlalchemy import select

from probes.metrics import ece, reliability_curve
from serving.ledger.database import Database
from serving.ledger.reading.window import Window
from serving.ledger.schema import decisions, exchanges, feedback

Floats = npt.NDArray[np.float64]

MOST_LABELS = 50_000
"""Newest labels that are looked at."""
LEAST_LABELS = 30
"""Below this, nothing is said about drift."""
DRIFT_SIGMA = 3.0
"""Standard errors between predicted and observed beyond which a candidate has drifted."""
_Z95 = 1.959964


@dataclass(frozen=True)
class Label:
    """One rated answer.

    Attributes
    ----------
    router
        Name of the fit that predicted.
    candidate
        Who answered.
    success
        Predicted for it.
    correct
        Its rating.
    """

    router: str
    candidate: str
    success: float
    correct: float


@dataclass(frozen=True)
class Drift:
    """How far one candidate's probabilities are from what people say.

    Attributes
    ----------
    candidate
        Who answered.
    n_labels
        Rated answers.
    predicted, observed
        Means.
    sigma
        (observed - predicted) in standard errors of a calibrated prediction.
    ece
        Expected calibration error in ten bins.
    drifted
        Whether there are labels enough, and `sigma` is beyond `DRIFT_SIGMA`.
    """

    candidate: str
    n_labels: int
    predicted: float
    observed: float
    sigma: float
    ece: float
    drifted: bool


@dataclass(frozen=True)
class SuccessBin:
    """One point of a reliability diagram.

    Attributes
    ----------
    predicted, observed
        Means of the bin.
    low, high
        95% interval of `observed` (Wilson 1927).
    n_labels
        Rated answers in it.
    """

    predicted: float
    observed: float
    low: float
    high: float
    n_labels: int


def labels(database: Database, window: Window, router: str | None = None) -> Iterator[Label]:
    """The newest `MOST_LABELS` answers that were rated in the window, newest first.

    Parameters
    ----------
    router
        Only those that this fit predicted.
    """
    joined = feedback.join(exchanges, exchanges.c.decision_id == feedback.c.decision_id).join(
        decisions, decisions.c.id == feedback.c.decision_id
    )
    columns = (decisions.c.router, exchanges.c.candidate, exchanges.c.success, feedback.c.correct)
    statement = (
        select(*columns)
        .select_from(joined)
        .where(window.holds(feedback.c.given_s), exchanges.c.success.is_not(None))
        .order_by(feedback.c.given_s.desc())
        .limit(MOST_LABELS)
    )
    if router is not None:
        statement = statement.where(decisions.c.router == router)
    with database.reading() as connection:
        for row in connection.execute(statement):
            yield Label(row.router, row.candidate, row.success, row.correct)


def drift(database: Database, window: Window, router: str | None = None) -> tuple[Drift, ...]:
    """Every candidate that was rated, by name."""
    by_name: dict[str, list[Label]] = {}
    for label in labels(database, window, router):
        by_name.setdefault(label.candidate, []).append(label)
    return tuple(_drift(name, found) for name, found in sorted(by_name.items()))


def reliability(
    database: Database, window: Window, candidate: str | None = None, n_bins: int = 10
) -> tuple[SuccessBin, ...]:
    """Observed against predicted success, of one candidate or of all, in bins of equal width."""
    found = [label for label in labels(database, window) if candidate in (None, label.candidate)]
    predicted, observed = _arrays(found)
    curve = reliability_curve(predicted, observed, n_bins)
    bins = []
    for p, o, n in zip(curve.predicted.tolist(), curve.observed.tolist(), curve.count.tolist(), strict=True):
        bins.append(SuccessBin(p, o, *_wilson(o, n), n))
    return tuple(bins)


def _drift(candidate: str, found: list[Label]) -> Drift:
    predicted, observed = _arrays(found)
    spread = math.sqrt(float(np.sum(predicted * (1 - predicted))))
    excess = float(np.sum(observed - predicted))
    sigma = excess / spread if spread > 0 else 0.0
    return Drift(
        candidate,
        len(found),
        float(predicted.mean()),
        float(observed.mean()),
        sigma,
        ece(predicted, observed),
        len(found) >= LEAST_LABELS and abs(sigma) > DRIFT_SIGMA,
    )


def _arrays(found: list[Label]) -> tuple[Floats, Floats]:
    predicted = np.array([label.success for label in found], dtype=np.float64)
    return predicted, np.array([label.correct for label in found], dtype=np.float64)


def _wilson(share: float, n: int) -> tuple[float, float]:
    """95% interval of a share of n (Wilson 1927, JASA 22, p. 209)."""
    centre = (share + _Z95**2 / (2 * n)) / (1 + _Z95**2 / n)
    half = _Z95 / (1 + _Z95**2 / n) * math.sqrt(share * (1 - share) / n + _Z95**2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)
