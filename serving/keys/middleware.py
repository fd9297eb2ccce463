"""The guard at the door: ASGI middleware, inside of the edge and in front of everything else."""

from __future__ import annotations

import base64
import binascii
from contextlib import nullcontext

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.http.errors import ApiError
from serving.http.responses import error_response
from serving.keys.guard import Guard
from serving.keys.key import Key
from serving.keys.site import site

_SCOPE_KEY = "foresight.key"
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN = ("none", "same-origin")
"""Sites whose requests may carry a password that the browser has stored: it sends that along unasked."""


def key_of(request: Request) -> Key | None:
    """The key that a request came with; None where no keys are asked for."""
    found: Key | None = request.scope.get(_SCOPE_KEY)
    return found


class KeyDoor:
    """Turns away what the guard does not let in.

    Parameters
    ----------
    app
        The application behind it.
    guard
        Knows the keys; None lets everybody in, but no other site's page that makes a browser ask.
    """

    def __init__(self, app: ASGIApp, guard: Guard | None) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; other scopes pass through."""
        guard = self._guard
        if guard is None or scope["type"] != "http":
            if scope["type"] == "http" and _is_forged(scope):
                await error_response(_forged())(scope, receive, send)
            else:
                await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        try:
            need = guard.need(path)
            key = guard.identify(_presented(scope), need) if need.key else None
            limited = key is not None and scope["method"] == "POST" and path.startswith("/v1/")
            with guard.admitted(key, path) if limited and key else nullcontext():
                scope[_SCOPE_KEY] = key
                await self._app(scope, receive, send)
        except ApiError as error:  # raised by the guard alone: the application answers its own
            await error_response(error)(scope, receive, send)


def _presented(scope: Scope) -> str | None:
    """The key in the headers: a bearer's, a password (browsers), or that of `api-key` (Azure's clients)."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            kind, _, rest = value.decode("latin-1").strip().partition(" ")
            if kind.lower() == "bearer":
                return str(rest.strip())
            if kind.lower() == "basic":
                return _password(rest) if site(scope) in _OWN else None
        elif name in (b"api-key", b"x-api-key"):
            return str(value.decode("latin-1").strip())
    return None


def _is_forged(scope: Scope) -> bool:
    """Whether another site's page asks for more than to look, where no key says who may."""
    return scope["method"] not in _READING and site(scope) == "cross-site"


def _forged() -> ApiError:
    message = "Another site's page may not ask a gateway without keys; turn keys on (serve.keys) to let it."
    return ApiError(403, message, code="cross_site_request")


def _password(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode("utf-8", "replace").partition(":")[2]
    except (binascii.Error, ValueError):
        return ""
