"""Responses that the gateway writes itself: raw JSON, and event streams that always clean up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import aclosing
from typing import Any, Protocol, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.http.errors import ApiError
from serving.http.sse import EVENT_STREAM_HEADERS

Result = TypeVar("Result")


class ClientGone(Exception):
    """The client closed its connection; nobody is left to answer."""


async def wait_for_disconnect(receive: Receive) -> None:
    """Return once the client has left (only meaningful after the body was read)."""
    while (await receive())["type"] != "http.disconnect":
        pass


ATTENTION_S = 0.02
"""What takes less is over before anybody could profit from its being stopped."""


class _Attention:
    """Cancels the task that entered it as soon as the client leaves: one task, not two.

    The second task, which listens for the client, begins only when the first has taken `ATTENTION_S`.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone = False
        self._watcher: asyncio.Future[None] | None = None

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("attention is paid inside of a task")
        self._task = task
        self._later = asyncio.get_running_loop().call_later(ATTENTION_S, self._watch)

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._later.cancel()
        if self._watcher is not None:
            self._watcher.remove_done_callback(self._leave)
            self._watcher.cancel()
        if self._gone and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise ClientGone

    def _watch(self) -> None:
        self._watcher = asyncio.ensure_future(wait_for_disconnect(self._receive))
        self._watcher.add_done_callback(self._leave)

    def _leave(self, watcher: asyncio.Future[None]) -> None:
        if not watcher.cancelled():
            self._gone = True
            self._task.cancel()


async def unless_disconnected(receive: Receive, work: Coroutine[Any, Any, Result]) -> Result:
    """Run `work` for as long as the client is there.

    Raises
    ------
    ClientGone
        If the client left first; `work` is cancelled, which reaches the backend.
    """
    async with _Attention(receive):
        return await work


class JsonBytes(Response):
    """A JSON body that is already encoded.

    Parameters
    ----------
    content
        It.
    status_code
        HTTP status.
    headers
        Further headers, their names in lower case.
    """

    media_type = "application/json"

    def __init__(
        self, content: bytes, status_code: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        self.body = content
        self.status_code = status_code
        self.background = None
        self.raw_headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(content)).encode()),
            *((name.encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()),
        ]


def error_response(error: ApiError) -> JsonBytes:
    """An error with its status and headers."""
    return JsonBytes(error.json(), status_code=error.status, headers=error.headers)


class Stream(Protocol):
    """Something that is sent in blocks."""

    def blocks(self) -> AsyncGenerator[bytes, None]:
        """What the client is sent."""
        ...

    async def aclose(self) -> None:
        """Nobody listens any more, or all is said."""
        ...


class EventStreamResponse(Response):
    """A relayed stream. When the client leaves, the relay is closed, and with it the backend's request.

    Parameters
    ----------
    relay
        What to send.
    headers
        Headers besides those of every event stream.
    """

    def __init__(self, relay: Stream, headers: Mapping[str, str]) -> None:
        self._relay = relay
        self.status_code = 200
        self.background = None
        self.init_headers({**EVENT_STREAM_HEADERS, **headers})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream until it ends or nobody listens."""
        try:
            await unless_disconnected(receive, self._send(send))
        finally:
            await self._relay.aclose()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with aclosing(self._relay.blocks()) as blocks:
            async for block in blocks:
                await send({"type": "http.response.body", "body": block, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
