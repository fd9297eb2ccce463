"""The outermost layer: request ids, counts, body limits, and no exception that gets past it."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.http.errors import ApiError, as_api_error
from serving.http.responses import ClientGone, error_response
from serving.metrics import Metrics
from serving.resilience.admission import Place

logger = logging.getLogger("foresight.gateway")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:\-]{1,128}")
_SCOPE_KEY = "foresight.request_id"


def request_id(request: Request) -> str:
    """The id of this exchange: the client's `x-request-id`, or one made here."""
    return str(request.scope[_SCOPE_KEY])


async def read_body(request: Request, limit: int, timeout_s: float, place: Place | None = None) -> bytes:
    """A request's body.

    Parameters
    ----------
    request
        Not yet read.
    limit
        Most bytes.
    timeout_s
        Longest time to arrive, in seconds.
    place
        Counts the bytes that are held.

    Raises
    ------
    ApiError
        413 for more than `limit` bytes, 408 if it does not arrive in time, 503 if all requests together hold
        too much.
    """
    for name, value in request.scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                part = message.get("body", b"")
                size += len(part)
                if size > limit:
                    raise _too_large(limit)
                if place is not None:
                    place.hold(len(part))
                parts.append(part)
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError as error:
        raise ApiError(408, "The request body did not arrive in time.", code="request_timeout") from error


def _too_large(limit: int) -> ApiError:
    message = f"The request body is larger than {limit} bytes."
    return ApiError(413, message, param="body", code="request_too_large", headers={"connection": "close"})


class Edge:
    """ASGI middleware around everything.

    Parameters
    ----------
    app
        The application inside.
    metrics
        Counts responses by route and status.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; other scopes pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange_id = _chosen_id(scope)
        scope[_SCOPE_KEY] = exchange_id
        status = 0

        async def tagged_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", exchange_id.encode())]
            await send(message)

        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, tagged_send)
        except (ClientGone, ClientDisconnect):
            status = status or 499
        except Exception as error:
            logger.exception("request %s failed", exchange_id)
            if not status:
                await error_response(as_api_error(error))(scope, receive, tagged_send)
        finally:
            self._metrics.in_flight.dec()
            self._metrics.responded(_route(scope), status)


def _chosen_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text = value.decode("latin-1")
            if _REQUEST_ID.fullmatch(text):
                return str(text)
    return "req_" + os.urandom(16).hex()


def _route(scope: Scope) -> str:
    """The route's path as it was declared, so that the label has few values."""
    if (direct := scope.get("foresight.route")) is not None:
        return str(direct)
    route: Any = scope.get("route")
    return getattr(route, "path", "unmatched")
