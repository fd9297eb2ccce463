"""Single decisions of the ledger, with what became of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, select

from serving.ledger.database import Database
from serving.ledger.schema import decisions, exchanges, feedback


@dataclass(frozen=True)
class Recorded:
    """One decision with all that is known of it.

    Attributes
    ----------
    id, decided_s, request_id, endpoint, key_id, policy, candidate, reason, novelty, novel
        As decided.
    predicted
        `success`, `expected_cost_usd`, `expected_output_tokens` by candidate; `ranking`; `ineligible`.
    served_by, finish, status, input_tokens, output_tokens, cost_usd, first_byte_s, total_s, failures
        What became of it; None while it runs, or if nobody was to answer.
    correct, comment
        Feedback; None without.
    prompt
        The prompt's messages or text; None unless the operator keeps prompts.
    """

    id: str
    decided_s: float
    request_id: str
    endpoint: str
    key_id: str | None
    policy: str
    candidate: str
    reason: str
    novelty: float | None
    novel: bool
    predicted: Mapping[str, Any]
    served_by: str | None
    finish: str | None
    status: int | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    first_byte_s: float | None
    total_s: float | None
    failures: Sequence[Mapping[str, str]]
    correct: float | None
    comment: str | None
    prompt: Any


def recent(
    database: Database, limit: int = 50, before_s: float | None = None, *, answered: bool = False
) -> tuple[Recorded, ...]:
    """The newest decisions, newest first; `before_s` (Unix seconds) turns the page.

    With `answered`, only those that somebody was asked to answer (`POST /v1/route` asks nobody).
    """
    statement = _recorded().order_by(decisions.c.decided_s.desc()).limit(limit)
    if answered:
        statement = statement.where(exchanges.c.decision_id.is_not(None))
    if before_s is not None:
        statement = statement.where(decisions.c.decided_s < before_s)
    with database.reading() as connection:
        return tuple(_of_row(row) for row in connection.execute(statement))


def decision(database: Database, decision_id: str) -> Recorded | None:
    """One decision by its id; None if there is none."""
    with database.reading() as connection:
        row = connection.execute(_recorded().where(decisions.c.id == decision_id)).one_or_none()
    return None if row is None else _of_row(row)


def _recorded() -> Select[Any]:
    chosen, ended = decisions.c, exchanges.c
    served_by = ended.candidate.label("served_by")
    names = (
        "id",
        "decided_s",
        "request_id",
        "endpoint",
        "key_id",
        "policy",
        "candidate",
        "reason",
        "novelty",
    )
    later = ("finish", "status", "output_tokens", "cost_usd", "first_byte_s", "total_s", "failures")
    joined = decisions.outerjoin(exchanges, ended.decision_id == chosen.id).outerjoin(
        feedback, feedback.c.decision_id == chosen.id
    )
    return select(
        *(chosen[name] for name in (*names, "novel", "predicted", "prompt")),
        served_by,
        ended.input_tokens.label("answer_input_tokens"),
        *(ended[name] for name in later),
        feedback.c.correct,
        feedback.c.comment,
    ).select_from(joined)


def _of_row(row: Row[Any]) -> Recorded:
    found = dict(row._mapping)
    found["input_tokens"] = found.pop("answer_input_tokens")
    found["predicted"] = json.loads(found["predicted"])
    found["failures"] = json.loads(found["failures"] or "[]")
    found["prompt"] = None if found["prompt"] is None else json.loads(found["prompt"])
    return Recorded(**found)
