"""Who answered how much in a stretch of the ledger, when, and how fast."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sqlalchemy import func, select

from serving.ledger.database import Database
from serving.ledger.reading.window import Window
from serving.ledger.schema import exchanges

NEWEST = 20_000
"""Latencies that percentiles are taken of."""
QUANTILES = (0.5, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Traffic:
    """One candidate's part of a window.

    Attributes
    ----------
    candidate
        Who answered.
    requests, ok
        Answers, and how many of them were complete.
    share
        Of all answers.
    spend_usd, output_tokens
        Theirs.
    predicted
        Mean predicted success; None where the client always named it.
    mean_s
        Mean time to the end of an answer.
    """

    candidate: str
    requests: int
    ok: int
    share: float
    spend_usd: float
    output_tokens: int
    predicted: float | None
    mean_s: float


@dataclass(frozen=True)
class Slice:
    """One candidate's answers in one slice of a timeline that begins at `at_s`."""

    at_s: float
    candidate: str
    requests: int
    spend_usd: float


@dataclass(frozen=True)
class Latency:
    """Quantiles in seconds, by quantile, of the newest `n` answers; empty if there are none."""

    n: int
    first_byte_s: Mapping[float, float]
    total_s: Mapping[float, float]


def by_candidate(database: Database, window: Window) -> tuple[Traffic, ...]:
    """Who answered how much, the busiest first."""
    table = exchanges.c
    n = func.count()
    statement = (
        select(
            table.candidate,
            n.label("n"),
            func.count().filter(table.finish == "ok").label("ok"),
            func.coalesce(func.sum(table.cost_usd), 0.0).label("cost_usd"),
            func.coalesce(func.sum(table.output_tokens), 0).label("output_tokens"),
            func.avg(table.success).label("predicted"),
            func.avg(table.total_s).label("mean_s"),
        )
        .where(window.holds(table.ended_s), table.candidate.is_not(None))
        .group_by(table.candidate)
        .order_by(n.desc(), table.candidate)
    )
    with database.reading() as connection:
        rows = list(connection.execute(statement))
    everything = sum(row.n for row in rows)
    return tuple(
        Traffic(
            row.candidate,
            row.n,
            row.ok,
            row.n / everything,
            row.cost_usd,
            int(row.output_tokens),
            row.predicted,
            row.mean_s,
        )
        for row in rows
    )


def timeline(database: Database, window: Window, n_slices: int = 60) -> tuple[Slice, ...]:
    """Answers by time and candidate; slices are whole minutes, and those without answers are left out."""
    width = slice_s(window, n_slices) // 60
    table = exchanges.c
    begin = table.minute // width
    statement = (
        select(
            begin.label("begin"), table.candidate, func.count(), func.coalesce(func.sum(table.cost_usd), 0.0)
        )
        .where(window.holds(table.ended_s), table.candidate.is_not(None))
        .group_by(begin, table.candidate)
        .order_by(begin, table.candidate)
    )
    with database.reading() as connection:
        return tuple(
            Slice(float(slot * width * 60), name, n, usd)
            for slot, name, n, usd in connection.execute(statement)
        )


def slice_s(window: Window, n_slices: int) -> int:
    """Length of a timeline's slices in seconds: whole minutes."""
    return 60 * max(1, math.ceil((window.until_s - window.since_s) / 60 / n_slices))


def latency(database: Database, window: Window, candidate: str | None = None) -> Latency:
    """Quantiles of the newest `NEWEST` complete answers of the window, of one candidate or of all."""
    table = exchanges.c
    statement = (
        select(table.first_byte_s, table.total_s)
        .where(window.holds(table.ended_s), table.finish == "ok")
        .order_by(table.ended_s.desc())
        .limit(NEWEST)
    )
    if candidate is not None:
        statement = statement.where(table.candidate == candidate)
    with database.reading() as connection:
        rows = [(row.first_byte_s, row.total_s) for row in connection.execute(statement)]
    first = _quantiles([first for first, _ in rows if first is not None])
    return Latency(len(rows), first, _quantiles([total for _, total in rows]))


def _quantiles(values: list[float]) -> dict[float, float]:
    if not values:
        return {}
    return dict(zip(QUANTILES, np.quantile(values, QUANTILES).tolist(), strict=True))
