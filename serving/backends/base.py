"""The seam between the gateway and whatever generates text.

A `Backend` is asked with a `Call` and gives a `Reply`, or raises `serving.http.errors.BackendFailure`
when it has none, so that another candidate can be tried. Bytes are OpenAI's wire format on both sides:
nothing between client and model needs to be taken apart.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from serving.http.protocol import Endpoint


class State(StrEnum):
    """Where a backend stands."""

    STARTING = "starting"
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True)
class Health:
    """A backend's state, and why if it is not up."""

    state: State
    detail: str = ""


@dataclass(frozen=True)
class Call:
    """One question to a backend.

    Attributes
    ----------
    endpoint
        Path below `/v1/`.
    body
        The JSON object to send: `model` and decoding are already the candidate's.
    stream
        Whether server-sent events are wanted.
    request_id
        Sent along as `x-request-id`.
    headers
        Further request headers, as `traceparent`.
    """

    endpoint: Endpoint
    body: Mapping[str, Any]
    stream: bool
    request_id: str
    headers: Mapping[str, str] = field(default_factory=dict)


class Reply(Protocol):
    """An answer that has begun: status 200, or a client error (400, 413, 422) that nobody else would cure."""

    @property
    def status(self) -> int:
        """The upstream status."""
        ...

    async def read(self, limit: int) -> bytes:
        """The whole body; `BackendFailure` if it is cut, or longer than `limit` bytes."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives; `BackendFailure` if the connection breaks."""
        ...

    async def aclose(self) -> None:
        """Give up the rest: the backend stops generating."""
        ...


class Backend(Protocol):
    """Something that answers. `start` and `close` are called once each, in the event loop that asks."""

    async def start(self) -> None:
        """Become able to answer: returns once that is so; `BackendError` if it never will be."""
        ...

    async def close(self) -> None:
        """Stop everything that `start` began; safe at any time, more than once."""
        ...

    async def health(self) -> Health:
        """Where the backend stands now; answers within seconds."""
        ...

    async def ask(self, call: Call) -> Reply:
        """Begin an answer; `BackendFailure` if there is none to be had.

        How long to wait is the caller's business: cancelling must leave nothing running.
        """
        ...
