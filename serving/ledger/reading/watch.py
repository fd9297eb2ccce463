"""How the ledger fares, and what it says of the probes, as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

from serving.ledger.database import Database
from serving.ledger.reading.calibration import drift
from serving.ledger.reading.money import totals
from serving.ledger.reading.window import Window
from serving.ledger.store import DAY_S

LABELS_S = 7 * DAY_S
"""Feedback of this long is compared with what was predicted."""
NOVELTY_S = DAY_S


class Watch:
    """Counts what the writer does, and looks at calibration when asked; a `WriterNotes`.

    Parameters
    ----------
    registry
        Where the metrics are shown.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._written = Counter(
            "foresight_ledger_entries", "Entries written to the ledger.", registry=registry
        )
        self._dropped = Counter(
            "foresight_ledger_dropped_entries",
            "Entries lost: the queue was full, the database refused, or the gateway was closed.",
            ["kind"],
            registry=registry,
        )
        self._waiting = Gauge(
            "foresight_ledger_waiting_entries", "Entries that are not on disk yet.", registry=registry
        )
        self._up = Gauge("foresight_ledger_up", "Whether the last write went well.", registry=registry)
        self._novelty = Gauge(
            "foresight_novelty_ratio", "Share of novel prompts in the last day.", registry=registry
        )
        of_candidates = {
            "foresight_feedback_labels": "Rated answers in the last seven days.",
            "foresight_success_predicted_ratio": "Mean predicted success of rated answers.",
            "foresight_success_observed_ratio": "Mean rating.",
            "foresight_calibration_drift_sigmas": "Observed minus predicted success, in standard errors.",
            "foresight_calibration_error_ratio": "Expected calibration error of rated answers.",
        }
        self._candidates = [
            Gauge(name, text, ["candidate"], registry=registry) for name, text in of_candidates.items()
        ]
        self._up.set(1)

    def waiting(self, count: Callable[[], int]) -> None:
        """Ask this for the number of entries that wait."""
        self._waiting.set_function(count)

    def wrote(self, n_entries: int) -> None:
        """Entries are on disk."""
        self._written.inc(n_entries)

    def dropped(self, kind: str) -> None:
        """An entry is lost."""
        self._dropped.labels(kind).inc()

    def reachable(self, yes: bool) -> None:
        """Whether the last write went well."""
        self._up.set(1 if yes else 0)

    def look(self, database: Database, now_s: float) -> None:
        """Compare predicted with observed success, and count novel prompts.

        Raises
        ------
        SQLAlchemyError
            The database does not answer.
        """
        rate = totals(database, Window.last(NOVELTY_S, now_s)).novelty_rate
        if rate is not None:
            self._novelty.set(rate)
        for found in drift(database, Window.last(LABELS_S, now_s)):
            told = (found.n_labels, found.predicted, found.observed, found.sigma, found.ece)
            for gauge, value in zip(self._candidates, told, strict=True):
                gauge.labels(found.candidate).set(value)
