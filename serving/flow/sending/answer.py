"""An answer that has begun, and the rest of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from router.configuration.pool import Candidate
from serving.backends.base import Reply
from serving.http.errors import BackendFailure, FailureKind
from serving.http.sse import EventBuffer, EventTooLarge
from serving.resilience.patience import Patience


@dataclass(frozen=True)
class Failure:
    """A candidate that was tried and did not answer, or was passed over because its backend rests."""

    candidate: str
    backend: str
    kind: FailureKind


class Rest(Protocol):
    """What is still to come of a stream."""

    async def next(self) -> bytes:
        """The next block of whole events; `BackendFailure` if there is none."""
        ...

    async def finish(self) -> None:
        """After `[DONE]`."""
        ...

    async def aclose(self) -> None:
        """Give up the rest."""
        ...


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
    stream: Rest | None = None
    failures: tuple[Failure, ...] = ()

    async def aclose(self) -> None:
        """Give up what is still to come."""
        if self.stream is not None:
            await self.stream.aclose()


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
    deadline
        When the whole request must be over, in the event loop's time.
    broke
        Told when the stream ends as it should not, through the backend's fault.
    """

    def __init__(
        self, name: str, reply: Reply, idle_timeout_s: float, deadline: float, broke: Callable[[], object]
    ) -> None:
        self._name = name
        self._reply = reply
        self._chunks: AsyncIterator[bytes] = reply.chunks()
        self._buffer = EventBuffer()
        self._idle_timeout_s = idle_timeout_s
        self._deadline = deadline
        self._broke = broke
        self._time = asyncio.get_running_loop().time
        self._patience = Patience()

    async def begin(self) -> bytes:
        """The first block of whole events, for as long as the caller waits; errors as in `next`."""
        async for chunk in self._chunks:
            try:
                if block := self._buffer.feed(chunk):
                    return block
            except EventTooLarge as error:
                raise BackendFailure("garbage", f"Backend {self._name}: {error}") from error
        raise BackendFailure("cut", f"Backend {self._name} ended its stream in the middle of an answer")

    async def next(self) -> bytes:
        """The next block of whole events; `BackendFailure` at a cut, a timeout or the end of the body."""
        until = min(self._time() + self._idle_timeout_s, self._deadline)
        try:
            with self._patience.until(until):
                return await self.begin()
        except TimeoutError as error:
            if until == self._deadline:
                raise BackendFailure("timeout", "The request took longer than it may") from error
            self._broke()
            message = f"Backend {self._name} sent nothing for {self._idle_timeout_s:g} s"
            raise BackendFailure("timeout", message) from error
        except BackendFailure:
            self._broke()
            raise

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
        self._patience.close()
        await self._reply.aclose()
