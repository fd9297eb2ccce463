"""The short way to the busy endpoints, past FastAPI's router and dependency machinery.

FastAPI documents these endpoints and would answer them alike, but what it does for each request is a good
part of its cost. Every POST is admitted here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from probes.errors import ForesightError
from serving.http.errors import ApiError, as_api_error
from serving.http.responses import error_response
from serving.resilience.admission import Admission, Place

Handler = Callable[[Request], Awaitable[Response]]

_PLACE = "foresight.place"


def place_of(request: Request) -> Place | None:
    """What the request was given at its admission; None where it needs none."""
    found: Place | None = request.scope.get(_PLACE)
    return found


class Direct:
    """ASGI middleware that answers some paths itself.

    Parameters
    ----------
    app
        Answers everything else.
    handlers
        For POST, by path.
    admission
        Bounds what is in flight.
    """

    def __init__(self, app: ASGIApp, handlers: Mapping[str, Handler], admission: Admission) -> None:
        self._app = app
        self._handlers = handlers
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; other scopes pass through."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            with self._admission.place() as place:
                scope[_PLACE] = place
                handler = self._handlers.get(scope["path"])
                if handler is None:
                    await self._app(scope, receive, send)
                    return
                scope["foresight.route"] = scope["path"]
                response = await handler(Request(scope, receive, send))
                await response(scope, receive, send)
        except (ApiError, ForesightError) as error:
            await error_response(as_api_error(error))(scope, receive, send)
