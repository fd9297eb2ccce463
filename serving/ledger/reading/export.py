"""Rated answers with their prompts, for an outcome set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import func, select

from serving.ledger.database import Database
from serving.ledger.reading.window import Window
from serving.ledger.schema import decisions, exchanges, feedback


@dataclass(frozen=True)
class RatedAnswer:
    """One complete answer that somebody rated.

    Attributes
    ----------
    prompt
        As it was kept: JSON of the messages or the text.
    candidate
        Who answered.
    correct
        Its rating.
    input_tokens, output_tokens, cost_usd, latency_s
        Measured; None where unknown.
    """

    prompt: str
    candidate: str
    correct: float
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    latency_s: float | None


def rated_answers(database: Database, window: Window) -> Iterator[RatedAnswer]:
    """Rated answers whose prompts were kept, oldest first, by the time of their decision."""
    ended = exchanges.c
    statement = (
        select(
            decisions.c.prompt,
            ended.candidate,
            feedback.c.correct,
            ended.input_tokens,
            ended.output_tokens,
            ended.cost_usd,
            ended.total_s,
        )
        .join(exchanges, ended.decision_id == decisions.c.id)
        .join(feedback, feedback.c.decision_id == decisions.c.id)
        .where(
            window.holds(decisions.c.decided_s), decisions.c.prompt.is_not(None), ended.candidate.is_not(None)
        )
        .order_by(decisions.c.decided_s)
    )
    with database.reading() as connection:
        for row in connection.execution_options(yield_per=1000).execute(statement):
            yield RatedAnswer(*row)


def n_rated(database: Database, window: Window) -> int:
    """Rated answers, whether or not their prompts were kept, by the time of their decision."""
    statement = (
        select(func.count())
        .select_from(decisions.join(feedback, feedback.c.decision_id == decisions.c.id))
        .where(window.holds(decisions.c.decided_s))
    )
    with database.reading() as connection:
        return int(connection.execute(statement).scalar_one())
