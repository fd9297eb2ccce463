"""Ask the candidates of a ranking, one after another, until one begins to answer.

The answer counts as begun with its first whole event (streams) or its whole body; up to there every failure
of a backend moves on to the next candidate, and after it none does. A backend that keeps failing is passed
over (its breaker is open); when the ranking is through and somebody may soon be able again, it is tried once
more.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

from router.configuration.pool import Candidate
from serving.backends.base import Backend, Call, Reply
from serving.flow.sending.answer import Answer, EventSource, Failure
from serving.flow.sending.forwarding import forwarded_body
from serving.http.errors import ApiError, BackendFailure, from_failure, from_upstream
from serving.http.protocol import Query
from serving.http.sse import split_error
from serving.resilience.backoff import Backoff
from serving.resilience.breaker import Breaker, BreakerRule, Permit
from serving.resilience.race import race
from serving.settings import GatewaySettings

__all__ = ["Answer", "Dispatcher", "EventSource", "Failure", "NoAnswer"]

MAX_ERROR_BYTES = 64 << 10
"""Most bytes of an upstream error that are read."""

PASSING = frozenset({"connect", "overloaded", "starting", "open", "cut"})
"""Failures that may be gone a moment later."""


@dataclass
class _Trial:
    """One request's way down the ranking."""

    query: Query
    deadline: float
    failures: list[Failure] = field(default_factory=list)
    told: list[BackendFailure] = field(default_factory=list)
    """Of the present round."""

    def note(self, candidate: Candidate, failure: BackendFailure) -> None:
        self.failures.append(Failure(candidate.name, candidate.backend, failure.kind))
        self.told.append(failure)

    @property
    def last(self) -> BackendFailure:
        """What the client is told: what was seen counts for more than what was not even tried."""
        seen = [failure for failure in self.told if failure.kind != "open"]
        return (seen or self.told or [BackendFailure("connect", "No candidate is left to ask")])[-1]

    @property
    def asked_s(self) -> float | None:
        """The soonest that some backend may be asked again; None if none ever will answer this."""
        passing = [failure.retry_after_s or 0.0 for failure in self.told if failure.kind in PASSING]
        return min(passing) if passing else None


class Dispatcher:
    """Knows the backends and tries candidates in order.

    Parameters
    ----------
    backends
        Running backends by their name in the pool.
    settings
        Timeouts and limits.
    breakers
        Those of an earlier dispatcher, for backends that it shared.
    clock
        For the breakers: seconds since some fixed moment.

    Attributes
    ----------
    breakers
        One for each backend.
    in_flight
        Requests that began here and are not over; kept by the caller.
    """

    def __init__(
        self,
        backends: Mapping[str, Backend],
        settings: GatewaySettings,
        *,
        breakers: Mapping[str, Breaker] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.in_flight = 0
        self._backends = backends
        self._settings = settings
        self._backoff = Backoff(settings.retries, settings.retry_first_s, settings.retry_max_s)
        rule = BreakerRule(settings.breaker_failures, settings.breaker_rest_s, settings.breaker_max_rest_s)
        known = breakers or {}
        self.breakers = {name: known.get(name) or Breaker(rule, clock) for name in backends}
        self._decoding: dict[str, Mapping[str, Any]] = {}

    async def open(
        self, query: Query, candidates: Sequence[Candidate], deadline: float = float("inf")
    ) -> Answer:
        """The first answer that begins before the deadline (in the event loop's time).

        Raises
        ------
        ApiError
            If the client is at fault, or every candidate failed (`failures` tells which).
        """
        trial = _Trial(query, deadline)
        now = asyncio.get_running_loop().time
        for done in count():
            answer = await self._round(trial, candidates)
            if answer is not None:
                answer.failures = tuple(trial.failures)
                return answer
            asked_s = trial.asked_s
            wait_s = None if asked_s is None else self._backoff.wait_s(done, asked_s, deadline - now())
            if wait_s is None:
                break
            await asyncio.sleep(wait_s)
            trial.told.clear()
        raise NoAnswer(trial.last, tuple(trial.failures))

    async def _round(self, trial: _Trial, candidates: Sequence[Candidate]) -> Answer | None:
        """Once through the ranking; None if nobody answers."""
        attempts = self._attempts(trial, candidates)
        if self._settings.hedge_after_s is not None:
            return await race(attempts, self._settings.hedge_after_s, Answer.aclose)
        for attempt in attempts:
            if (answer := await attempt()) is not None:
                return answer
        return None

    def _attempts(
        self, trial: _Trial, candidates: Sequence[Candidate]
    ) -> Iterator[Callable[[], Awaitable[Answer | None]]]:
        """Those who may be asked now, in order; whether a breaker lets one through is asked at its turn."""
        left = self._settings.max_attempts
        for candidate in candidates:
            if left == 0 or asyncio.get_running_loop().time() >= trial.deadline:
                return
            breaker = self.breakers[candidate.backend]
            permit = breaker.permit()
            if permit is None:
                message = f"Backend {candidate.backend} failed lately and is left alone for a moment"
                trial.note(
                    candidate, BackendFailure("open", message, retry_after_s=max(0.05, breaker.wait_s))
                )
                continue
            left -= 1
            yield partial(self._attempt, trial, candidate, permit)

    async def _attempt(self, trial: _Trial, candidate: Candidate, permit: Permit) -> Answer | None:
        limit_s = self._settings.first_byte_timeout_s
        until = min(asyncio.get_running_loop().time() + limit_s, trial.deadline)
        try:
            async with asyncio.timeout_at(until):
                answer = await self._ask(trial, candidate, permit)
        except TimeoutError:
            message = f"Backend {candidate.backend} did not begin to answer within {limit_s:g} s"
            if until == trial.deadline:  # not the backend's fault: others had used up the time
                permit.abandoned()
                message = "The request was not answered in the time that it may take"
            permit.failed()
            trial.note(candidate, BackendFailure("timeout", message))
            return None
        except BackendFailure as failure:
            self._blame(candidate.backend, permit, failure)
            trial.note(candidate, failure)
            return None
        except ApiError:  # the client's own mistake: the backend is well
            permit.succeeded()
            raise
        finally:
            permit.abandoned()
        return answer

    def _blame(self, backend: str, permit: Permit, failure: BackendFailure) -> None:
        """Tell the breaker what a failure says about the backend (a wrong model name says nothing)."""
        if failure.kind == "overloaded":
            self.breakers[backend].rest(failure.retry_after_s or 0.0)
        elif failure.kind in ("connect", "cut", "garbage", "timeout") or (failure.status or 0) >= 500:
            permit.failed()

    async def _ask(self, trial: _Trial, candidate: Candidate, permit: Permit) -> Answer:
        query = trial.query
        decoding = self._decoding.get(candidate.name)
        if decoding is None:
            decoding = self._decoding[candidate.name] = candidate.decoding.body()
        body = forwarded_body(query.body, candidate.model, decoding, query.endpoint)
        call = Call(query.endpoint, body, query.stream, query.request_id)
        reply = await self._backends[candidate.backend].ask(call)
        keep = False
        try:
            if reply.status != 200:
                raise from_upstream(reply.status, await reply.read(MAX_ERROR_BYTES), query.prompt_field)
            if query.stream:
                answer = await self._first_events(candidate, reply, trial.deadline, permit)
                keep = True
            else:
                answer = await self._whole(candidate, reply)
            permit.succeeded()
            return answer
        finally:
            if not keep:
                await reply.aclose()

    async def _first_events(
        self, candidate: Candidate, reply: Reply, deadline: float, permit: Permit
    ) -> Answer:
        idle_s = self._settings.idle_timeout_s
        source = EventSource(candidate.backend, reply, idle_s, deadline, permit.broke)
        block = await source.begin()
        while b"data:" not in block:  # comments that keep the connection alive
            block += await source.begin()
        if split_error(block)[1]:
            raise BackendFailure("garbage", f"Backend {candidate.backend} began its stream with an error")
        return Answer(candidate, block, stream=source)

    async def _whole(self, candidate: Candidate, reply: Reply) -> Answer:
        body = await reply.read(self._settings.max_answer_bytes)
        try:
            parsed = json.loads(body)
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict) or "choices" not in parsed:
            raise BackendFailure("garbage", f"Backend {candidate.backend} sent something that is no answer")
        return Answer(candidate, body, parsed=parsed)


class NoAnswer(ApiError):
    """Every candidate that could be tried failed."""

    def __init__(self, last: BackendFailure, failures: tuple[Failure, ...]) -> None:
        told = from_failure(last, tried=len(failures))
        super().__init__(told.status, told.message, code=told.code, headers=told.headers)
        self.failures = failures
