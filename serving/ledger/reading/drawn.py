"""Rated answers whose candidate was drawn with a known probability: what off-policy estimates read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import select

from serving.ledger.database import Database
from serving.ledger.reading.window import Window
from serving.ledger.schema import decisions, exchanges, feedback


def drawn_decisions(database: Database, window: Window) -> Iterator[dict[str, Any]]:
    """Fields of `eval.logged.Drawn`, oldest first: answered by who was drawn, rated, at a known price."""
    made, ended = decisions.c, exchanges.c
    statement = (
        select(made.candidate, made.propensity, made.predicted, feedback.c.correct, ended.cost_usd)
        .join(exchanges, ended.decision_id == made.id)
        .join(feedback, feedback.c.decision_id == made.id)
        .where(
            window.holds(made.decided_s),
            made.propensity.is_not(None),
            ended.candidate == made.candidate,
            ended.cost_usd.is_not(None),
        )
        .order_by(made.decided_s)
    )
    with database.reading() as connection:
        for row in connection.execution_options(yield_per=1000).execute(statement):
            predicted = json.loads(row.predicted)
            yield {
                "chosen": row.candidate,
                "propensity": row.propensity,
                "correct": row.correct,
                "cost_usd": row.cost_usd,
                "success": predicted["success"],
                "expected_cost_usd": predicted["expected_cost_usd"],
                "eligible": tuple(predicted["ranking"]),
            }
