"""ASGI middleware: each request is a span, the child of the client's own where it sends a `traceparent`."""

from __future__ import annotations

from opentelemetry import context
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.tracing import names
from serving.tracing.reading import DECIDING

QUIET = ("/health", "/ready", "/metrics", "/dashboard")
"""Paths that are asked every few seconds by machines and open pages."""
_PROPAGATOR = TraceContextTextMapPropagator()
_HEADERS = {b"traceparent": "traceparent", b"tracestate": "tracestate"}


class TraceDoor:
    """The outermost layer of a traced gateway.

    Parameters
    ----------
    app
        The application inside.
    tracer
        Makes the spans.
    """

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; other scopes pass through."""
        if scope["type"] != "http" or scope["path"].startswith(QUIET):
            await self._app(scope, receive, send)
            return
        carrier = {
            _HEADERS[name]: value.decode("latin-1") for name, value in scope["headers"] if name in _HEADERS
        }
        method = scope["method"] if scope["method"] in ("GET", "POST", "DELETE") else "HTTP"
        span = self._tracer.start_span(
            method, context=_PROPAGATOR.extract(carrier, context.Context()), kind=SpanKind.SERVER
        )
        recording = span.is_recording()

        async def seen(message: Message) -> None:
            if message["type"] == "http.response.start":
                span.set_attribute(names.STATUS, message["status"])
                if message["status"] >= 500:
                    span.set_attribute(names.ERROR, str(message["status"]))
                    span.set_status(Status(StatusCode.ERROR))
            await send(message)

        token = context.attach(set_span_in_context(span))
        DECIDING.set(None)
        try:
            await self._app(scope, receive, seen if recording else send)
        finally:
            context.detach(token)
            if (deciding := DECIDING.get()) is not None:  # nobody was chosen: the request was refused
                deciding.end()
            if recording:
                route = _route(scope)
                span.update_name(f"{method} {route}")
                span.set_attributes({names.METHOD: method, names.ROUTE: route})
            span.end()


def _route(scope: Scope) -> str:
    """The path as it was declared: a name with few values."""
    direct = scope.get("foresight.route")
    return str(direct or getattr(scope.get("route"), "path", "unmatched"))
