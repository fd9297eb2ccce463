"""Ask the candidates of a ranking, one after another, until one begins to answer.

The answer counts as begun with its first whole event (streams) or its whole body; up to there every failure
of a backend moves on to the next candidate, and after it none does.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from router.pool import Candidate
from serving.backends.base import Backend, Call, Reply
from serving.errors import ApiError, BackendFailure, FailureKind, from_failure, from_upstream
from serving.forwarding import forwarded_body
from serving.protocol import Query
from serving.settings import GatewaySettings
from serving.sse import EventBuffer, EventTooLarge, split_error

MAX_ERROR_BYTES = 64 << 10
"""Most bytes of an upstream error that are read."""


@dataclass(frozen=True)
class Failure:
    """A candidate that was tried and did not answer."""

    candidate: str
    backend: str
    kind: FailureKind


@dataclass
class Answer:
    """An answer that has begun.

    Attributes
    ----------
    candidate
        Who answers.
    body
        The whole body, or the first whole events of a stream.
    parsed
        The decoded body of a non-streaming answer.
    stream
        The rest of a stream; None if `body` is all.
    failures
        Candidates that were tried before.
    """

    candidate: Candidate
    body: bytes
    parsed: Mapping[str, Any] = field(default_factory=dict)
    stream: EventSource | None = None
    failures: tuple[Failure, ...] = ()


class EventSource:
    """The whole events of one streaming reply.

    Parameters
    ----------
    name
        The backend's name, for messages.
    reply
        The reply to read.
    idle_timeout_s
        Longest wait for the next event once the stream has begun.
    """

    def __init__(self, name: str, reply: Reply, idle_timeout_s: float) -> None:
        self._name = name
        self._reply = reply
        self._chunks: AsyncIterator[bytes] = reply.chunks()
        self._buffer = EventBuffer()
        self._idle_timeout_s = idle_timeout_s

    async def next(self) -> bytes:
        """The next block of whole events; `BackendFailure` at a cut, a timeout or the end of the body."""
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                async for chunk in self._chunks:
                    if block := self._buffer.feed(chunk):
                        return block
        except TimeoutError as error:
            message = f"Backend {self._name} sent nothing for {self._idle_timeout_s:g} s"
            raise BackendFailure("timeout", message) from error
        except EventTooLarge as error:
            raise BackendFailure("garbage", f"Backend {self._name}: {error}") from error
        raise BackendFailure("cut", f"Backend {self._name} ended its stream in the middle of an answer")

    async def finish(self) -> None:
        """After `[DONE]`: wait a moment for the end of the body, so that the connection can be used again."""
        try:
            async with asyncio.timeout(0.02):
                async for _ in self._chunks:
                    pass
        except (TimeoutError, BackendFailure):
            pass

    async def aclose(self) -> None:
        """Give up the rest."""
        await self._reply.aclose()


class Dispatcher:
    """Knows the backends and tries candidates in order.

    Parameters
    ----------
    backends
        Running backends by their name in the pool.
    settings
        Timeouts and limits.
    """

    def __init__(self, backends: Mapping[str, Backend], settings: GatewaySettings) -> None:
        self._backends = backends
        self._settings = settings

    async def open(self, query: Query, candidates: Sequence[Candidate]) -> Answer:
        """The first answer that begins.

        Raises
        ------
        ApiError
            If the client is at fault, or every candidate failed (`failures` tells which).
        """
        failures: list[Failure] = []
        last: BackendFailure | None = None
        for candidate in candidates[: self._settings.max_attempts]:
            try:
                answer = await self._attempt(query, candidate)
            except BackendFailure as failure:
                last = failure
                failures.append(Failure(candidate.name, candidate.backend, failure.kind))
                continue
            answer.failures = tuple(failures)
            return answer
        raise NoAnswer(last or BackendFailure("connect", "No candidate is left to ask"), tuple(failures))

    async def _attempt(self, query: Query, candidate: Candidate) -> Answer:
        limit_s = self._settings.first_byte_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                return await self._ask(query, candidate)
        except TimeoutError as error:
            message = f"Backend {candidate.backend} did not begin to answer within {limit_s:g} s"
            raise BackendFailure("timeout", message) from error

    async def _ask(self, query: Query, candidate: Candidate) -> Answer:
        body = forwarded_body(query.body, candidate.model, candidate.decoding.body(), query.endpoint)
        call = Call(query.endpoint, body, query.stream, query.request_id)
        reply = await self._backends[candidate.backend].ask(call)
        keep = False
        try:
            if reply.status != 200:
                raise from_upstream(reply.status, await reply.read(MAX_ERROR_BYTES), query.prompt_field)
            if query.stream:
                answer = await self._first_events(candidate, reply)
                keep = True
                return answer
            return await self._whole(candidate, reply)
        finally:
            if not keep:
                await reply.aclose()

    async def _first_events(self, candidate: Candidate, reply: Reply) -> Answer:
        source = EventSource(candidate.backend, reply, self._settings.idle_timeout_s)
        block = await source.next()
        while b"data:" not in block:  # comments that keep the connection alive
            block += await source.next()
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
