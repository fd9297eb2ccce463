"""What is told of a newcomer, and the router that it is part of."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from probes.scoring.newcomer.canary import Canary
from probes.scoring.scorer import Scorer
from router.configuration.pool import Pool
from router.fitted import Fitted
from router.router import Router
from router.update.levels import LevelError


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


def joined(router: Router, pool: Pool, scorer: Scorer, fitted: Fitted, report: NewcomerReport) -> Router:
    """The router with what was found of a newcomer, which its record tells too."""
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
