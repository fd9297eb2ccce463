"""Ask the first of a cascade, look at how sure its answer is, and ask the next where that is too little.

A first answer is read whole before a client sees any of it, streamed or not: nobody can take back what was
sent. Every call is paid. What the last candidate answers goes through as it comes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from router.configuration.pool import Candidate
from router.decisions.decision import Decision
from router.policies import Cascade, Step
from serving.flow.record import TokenCount
from serving.flow.sending.answer import Answer, Failure
from serving.flow.sending.dispatch import Dispatcher, NoAnswer
from serving.http.errors import ApiError, BackendFailure
from serving.http.protocol import Query
from serving.http.sse import DONE, event, payloads, split_done, split_error
from serving.policies.confidence import as_asked_for, confidence_of, told_anyway, wondering
from serving.policies.tried import Tried


@dataclass(frozen=True)
class Settled:
    """The answer that a client is given."""

    answer: Answer
    tokens: TokenCount | None = None
    """Of an answer that was looked at and kept."""


class Cascading:
    """One request's way up a cascade.

    Parameters
    ----------
    dispatcher
        Asks.
    query
        The client's.
    decision
        Of a cascade.
    deadline
        In the event loop's time.
    max_bytes
        Of an answer that is read whole.
    """

    def __init__(
        self, dispatcher: Dispatcher, query: Query, decision: Decision, deadline: float, max_bytes: int
    ) -> None:
        if decision.cascade is None:
            raise TypeError("a cascade's decision is needed")
        self._cascade: Cascade = decision.cascade
        self._dispatcher, self._query, self._deadline = dispatcher, query, deadline
        self._max_bytes = max_bytes
        self._tokens: TokenCount | None = None
        self.tried: list[Tried] = []
        self._failures: list[Failure] = []

    async def settle(self, candidates: Sequence[Candidate]) -> Settled:
        """Ask until an answer is kept.

        Parameters
        ----------
        candidates
            The decision's ranking: the ladder first.

        Raises
        ------
        ApiError
            As `Dispatcher.open`.
        """
        last = len(self._cascade.ladder) - 1
        for candidate in candidates[:last]:
            try:
                answer = await self._dispatcher.open(self._asking(), [candidate], self._deadline)
                answer = await self._whole(answer)
            except NoAnswer as error:
                self._failures += error.failures
                continue
            except BackendFailure as failure:
                self._failures.append(Failure(candidate.name, candidate.backend, failure.kind))
                continue
            except (
                ApiError
            ):  # perhaps it knows no log-probabilities: the last one is asked what the client asked
                self._failures.append(Failure(candidate.name, candidate.backend, "refused"))
                continue
            if self._judge(answer).candidate is None:
                return self._settled(self._as_asked_for(answer))
            self._tokens = None
        try:
            return self._settled(await self._dispatcher.open(self._query, candidates[last:], self._deadline))
        except NoAnswer as error:
            error.failures = (*self._failures, *error.failures)
            raise

    def _asking(self) -> Query:
        """The client's request, with log-probabilities."""
        query = wondering(self._query)
        if not query.stream:
            return query
        options = {**(query.body.get("stream_options") or {}), "include_usage": True}
        return replace(query, body={**query.body, "stream_options": options})  # what is thrown away is paid

    def _judge(self, answer: Answer) -> Step:
        name = answer.candidate.name
        seen = list(_payloads(answer))
        confidence = confidence_of(seen)
        step = self._cascade.after(name, confidence)
        tokens = self._tokens = _usage(seen)
        price = answer.candidate.price
        cost_usd = None if tokens is None else price.usd(tokens.input, tokens.output, tokens.cached)
        self.tried.append(Tried(name, confidence, step.candidate is None, cost_usd, step.reason))
        return step

    async def _whole(self, answer: Answer) -> Answer:
        """All of an answer, its stream read to the end; `BackendFailure` if that is cut or an error."""
        if answer.stream is None:
            return answer
        blocks, backend = [answer.body], answer.candidate.backend
        try:
            while not split_done(blocks[-1])[1]:
                blocks.append(await answer.stream.next())
                if split_error(blocks[-1])[1]:
                    raise BackendFailure("garbage", f"Backend {backend} streamed an error")
                if sum(map(len, blocks)) > self._max_bytes:
                    raise BackendFailure("garbage", f"The answer of backend {backend} is too long")
            await answer.stream.finish()
        finally:
            await answer.stream.aclose()
        return replace(answer, body=b"".join(blocks), stream=None)

    def _as_asked_for(self, answer: Answer) -> Answer:
        """A kept answer without what only the gateway wanted to know; a stream stays one."""
        if self._query.stream:
            return replace(answer, body=self._events(answer.body), stream=Read())
        if told_anyway(self._query):
            return answer
        parsed = as_asked_for(self._query, answer.parsed)
        return replace(answer, body=json.dumps(parsed).encode(), parsed=parsed)

    def _events(self, body: bytes) -> bytes:
        """A whole stream as the client has asked for it."""
        with_usage = (self._query.body.get("stream_options") or {}).get("include_usage")
        told = []
        for payload in payloads(body):
            shown = as_asked_for(self._query, payload)
            if not with_usage:
                shown = {name: value for name, value in shown.items() if name != "usage"}
                if shown.get("choices") == []:
                    continue
            told.append(event(shown))
        return b"".join(told) + DONE

    def _settled(self, answer: Answer) -> Settled:
        answer.failures = (*self._failures, *answer.failures)
        return Settled(answer, self._tokens)


class Read:
    """The rest of a stream that was read to its end: nothing."""

    async def next(self) -> bytes:
        """There is nothing more."""
        raise BackendFailure("cut", "The stream has ended")

    async def finish(self) -> None:
        """Nothing waits."""

    async def aclose(self) -> None:
        """Nothing is open."""


def _payloads(answer: Answer) -> Iterable[Any]:
    return [answer.parsed] if answer.parsed else payloads(answer.body)


def _usage(seen: Sequence[Any]) -> TokenCount | None:
    """What the backend reports, in a stream with its last event."""
    for payload in reversed(seen):
        if (found := TokenCount.from_usage(payload.get("usage"))) is not None:
            return found
    return None
