"""One request from its beginning to its record: who was asked, what it cost, how it ended."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from router.configuration.pool import Candidate
from router.decisions.decision import Decision
from serving.flow.record import Exchange, Finish, Observer, TokenCount
from serving.flow.sending.dispatch import Dispatcher, Failure
from serving.http.protocol import Query
from serving.policies.tried import Tried

_STATUS: Mapping[Finish, int] = {"ok": 200, "error": 200, "aborted": 499}
"""What the client saw unless it was told otherwise; an error in a stream comes after its 200."""


class Clock:
    """Times of one request, in seconds."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self.first_byte_s: float | None = None

    def first_byte(self) -> None:
        """The answer begins now."""
        self.first_byte_s = self.now()

    def now(self) -> float:
        """Seconds since the request came."""
        return time.perf_counter() - self._began


@dataclass(frozen=True)
class Account:
    """What is known of one exchange until it is put on record."""

    observers: Sequence[Observer]
    query: Query
    decision: Decision
    clock: Clock
    dispatcher: Dispatcher
    tried: list[Tried] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dispatcher.in_flight += 1

    def close(
        self,
        finish: Finish,
        candidate: Candidate | None,
        tokens: TokenCount | None,
        failures: Sequence[Failure] = (),
        status: int | None = None,
    ) -> None:
        """Put the exchange on record; a stream's status is that of its beginning."""
        self.dispatcher.in_flight -= 1
        spent = [step.cost_usd for step in self.tried if not step.kept and step.cost_usd is not None]
        cost_usd = sum(spent) if spent else None
        if candidate is not None and tokens is not None:
            cost_usd = sum(spent) + candidate.price.usd(tokens.input, tokens.output, tokens.cached)
        exchange = Exchange(
            endpoint=self.query.endpoint,
            request_id=self.query.request_id,
            decision=self.decision,
            candidate=None if candidate is None else candidate.name,
            finish=finish,
            tokens=tokens,
            cost_usd=cost_usd,
            first_byte_s=self.clock.first_byte_s,
            total_s=self.clock.now(),
            failures=failures,
            key_id=self.query.key_id,
            status=status or _STATUS[finish],
        )
        for observer in self.observers:
            observer.finished(exchange)
