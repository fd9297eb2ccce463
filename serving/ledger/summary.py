"""Questions about a stretch of the ledger, for dashboards and reports: money, traffic, latency, decisions.

What people said of the answers is in `serving.ledger.calibration`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sqlalchemy import Row, Select, func, select

from serving.ledger.database import Database
from serving.ledger.schema import decisions, exchanges, feedback
from serving.ledger.window import Window

NEWEST = 20_000
"""Latencies that percentiles are taken of."""
QUANTILES = (0.5, 0.9, 0.95, 0.99)
_Z95 = 1.959964


@dataclass(frozen=True)
class Totals:
    """A window at a glance.

    Attributes
    ----------
    requests
        That were to be answered.
    ok, errors, aborted
        How they ended.
    spend_usd
        Of answers, at the pool's prices.
    scout_usd
        Of reading prompts.
    input_tokens, output_tokens
        Of answers.
    decisions
        Including those that nobody asked to answer (`POST /v1/route`).
    novel
        Decisions on prompts unlike the fitted ones.
    rated
        Answers that got feedback in the window.
    mean_rating
        Their mean; None if there are none.
    """

    requests: int
    ok: int
    errors: int
    aborted: int
    spend_usd: float
    scout_usd: float
    input_tokens: int
    output_tokens: int
    decisions: int
    novel: int
    rated: int
    mean_rating: float | None

    @property
    def novelty_rate(self) -> float | None:
        """Share of decisions on novel prompts; None if there are none."""
        return self.novel / self.decisions if self.decisions else None


@dataclass(frozen=True)
class Saving:
    """What was saved against always asking the reference, the scout's cost included.

    Attributes
    ----------
    reference
        Who would always have answered; None where nothing can be compared.
    requests
        Answers compared: routed, complete, of known cost.
    spend_usd, reference_usd
        What they cost, and what the reference would have cost.
    share, low, high
        Saved share of `reference_usd` with its 95% interval; None with fewer than two requests.
    """

    reference: str | None
    requests: int
    spend_usd: float
    reference_usd: float
    share: float | None
    low: float | None
    high: float | None

    @property
    def saved_usd(self) -> float:
        """Reference minus spend."""
        return self.reference_usd - self.spend_usd


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


def totals(database: Database, window: Window) -> Totals:
    """Counts and sums of a window."""
    table = exchanges.c
    of_exchanges = select(
        func.count().label("requests"),
        *(func.count().filter(table.finish == end).label(end) for end in ("ok", "error", "aborted")),
        *(
            func.coalesce(func.sum(table[name]), 0).label(name)
            for name in ("cost_usd", "scout_cost_usd", "input_tokens", "output_tokens")
        ),
    ).where(window.holds(table.ended_s))
    of_decisions = select(func.count(), func.count().filter(decisions.c.novel)).where(
        window.holds(decisions.c.decided_s)
    )
    of_feedback = select(func.count(), func.avg(feedback.c.correct)).where(window.holds(feedback.c.given_s))
    with database.reading() as connection:
        row = connection.execute(of_exchanges).one()
        n_decisions, n_novel = connection.execute(of_decisions).one()
        n_rated, rating = connection.execute(of_feedback).one()
    return Totals(
        requests=row.requests,
        ok=row.ok,
        errors=row.error,
        aborted=row.aborted,
        spend_usd=float(row.cost_usd),
        scout_usd=float(row.scout_cost_usd),
        input_tokens=int(row.input_tokens),
        output_tokens=int(row.output_tokens),
        decisions=n_decisions,
        novel=n_novel,
        rated=n_rated,
        mean_rating=None if rating is None else float(rating),
    )


def saving(database: Database, window: Window, basis: Literal["expected", "actual"] = "expected") -> Saving:
    """What routing saved.

    Parameters
    ----------
    basis
        ``expected``: the reference would have generated as many tokens as the router expects of it;
        ``actual``: as many as were generated by who answered.

    Notes
    -----
    The interval is that of a ratio of means over requests (Cochran 1977, eq. 6.13): it says how far the share
    would differ with other requests like these, and not how far off the expected lengths are.
    """
    table = exchanges.c
    cost = table.cost_usd + table.scout_cost_usd
    other = table.reference_expected_usd if basis == "expected" else table.reference_actual_usd
    names = ("cost", "other", "cost2", "other2", "product")
    sums = (cost, other, cost * cost, other * other, cost * other)
    statement = select(
        func.count().label("n"),
        func.max(table.reference).label("reference"),
        *(func.coalesce(func.sum(value), 0.0).label(name) for name, value in zip(names, sums, strict=True)),
    ).where(window.holds(table.ended_s), table.finish == "ok", cost.is_not(None), other.is_not(None))
    with database.reading() as connection:
        row = connection.execute(statement).one()
    if row.n < 2 or not row.other > 0:
        return Saving(row.reference, row.n, row.cost, row.other, None, None, None)
    ratio = row.cost / row.other
    squares = max(0.0, row.cost2 - 2 * ratio * row.product + ratio * ratio * row.other2)
    half = _Z95 * math.sqrt(squares / (row.n - 1) / row.n) / (row.other / row.n)
    return Saving(row.reference, row.n, row.cost, row.other, 1 - ratio, 1 - ratio - half, 1 - ratio + half)


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


def _quantiles(values: list[float]) -> dict[float, float]:
    if not values:
        return {}
    return dict(zip(QUANTILES, np.quantile(values, QUANTILES).tolist(), strict=True))
