"""The HTTP face: which path does what. No logic in here."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from probes.errors import ForesightError
from serving import protocol
from serving.documentation import body_of, document, errors
from serving.edge import Edge, read_body, request_id
from serving.errors import ApiError, as_api_error, invalid_request
from serving.gateway import Gateway, Whole
from serving.metrics import CONTENT_TYPE
from serving.protocol import Query
from serving.responses import EventStreamResponse, JsonBytes, error_response, unless_disconnected


def create_app(gateway: Gateway) -> FastAPI:
    """The ASGI application of one gateway; its lifespan starts and closes the gateway."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            await gateway.start()
            yield
        finally:
            await gateway.close()

    app = FastAPI(
        title="Foresight",
        summary="An OpenAI-compatible endpoint: each query goes to the cheapest model likely to answer it.",
        lifespan=lifespan,
        docs_url=None,  # both pages would load scripts from other hosts
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # its logs would hold prompts
    )
    app.add_middleware(Edge, metrics=gateway.metrics)
    for kind in (ApiError, ForesightError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _on_error)
    app.include_router(_answers(gateway))
    app.include_router(_operations(gateway))
    document(app)
    return app


def _answers(gateway: Gateway) -> APIRouter:
    routes = APIRouter(prefix="/v1")

    async def query_of(request: Request, parse: Callable[[bytes, str], Query]) -> Query:
        settings = gateway.settings
        raw = await read_body(request, settings.max_body_bytes, settings.body_timeout_s)
        return parse(raw, request_id(request))

    async def answer(request: Request, parse: Callable[[bytes, str], Query]) -> Response:
        query = await query_of(request, parse)
        answered = await unless_disconnected(request.receive, gateway.answer(query))
        if isinstance(answered, Whole):
            return JsonBytes(answered.body, headers=dict(answered.headers))
        return EventStreamResponse(answered.relay, answered.headers)

    @routes.post("/chat/completions", **body_of(protocol.ChatRequest))
    async def chat_completions(request: Request) -> Response:
        """Answer a conversation, streaming or not; `model` decides who answers."""
        return await answer(request, protocol.parse_chat)

    @routes.post("/completions", **body_of(protocol.CompletionRequest))
    async def completions(request: Request) -> Response:
        """Continue a text, streaming or not."""
        return await answer(request, protocol.parse_completion)

    @routes.post("/route", **body_of(protocol.RouteRequest))
    async def route(request: Request) -> Response:
        """Decide without answering: the whole decision, with every candidate's probability and cost."""
        query = await query_of(request, protocol.parse_route)
        decision = await unless_disconnected(request.receive, gateway.decide(query))
        return _json({"object": "foresight.decision", **decision.to_dict()})

    @routes.get("/models")
    async def models() -> Response:
        """The names that `model` may take: `auto`, named policies, and the candidates."""
        return _json(gateway.names.listing())

    @routes.get("/models/{name:path}", responses=errors())
    async def model(name: str) -> Response:
        """One of them."""
        return _json(gateway.names.card(name))

    return routes


def _operations(gateway: Gateway) -> APIRouter:
    routes = APIRouter()

    @routes.get("/health")
    async def health() -> Response:
        """Whether this process runs."""
        return _json({"status": "ok"})

    @routes.get("/ready", responses={503: {"description": "No candidate can answer"}})
    async def ready() -> Response:
        """Whether some candidate can answer; 503 if none can."""
        able, detail = await gateway.status()
        return _json(detail, 200 if able else 503)

    @routes.get("/metrics")
    async def metrics() -> Response:
        """Prometheus metrics."""
        return Response(gateway.metrics.render(), media_type=CONTENT_TYPE)

    return routes


def _json(content: dict[str, Any], status: int = 200) -> JsonBytes:
    return JsonBytes(json.dumps(content).encode(), status_code=status)


async def _on_error(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return error_response(_http_error(request, error))
    if isinstance(error, RequestValidationError):
        return error_response(invalid_request("The request is not valid.", None))
    return error_response(as_api_error(error))


def _http_error(request: Request, error: HTTPException) -> ApiError:
    """Starlette's own errors (unknown path, wrong method) in OpenAI's words."""
    path = request.url.path[:120]
    headers = dict(error.headers or {})
    if error.status_code == 404:
        return ApiError(404, f"Unknown request URL: {request.method} {path}.", code="unknown_url")
    if error.status_code == 405:
        message = f"{request.method} is not allowed on {path}."
        return ApiError(405, message, code="method_not_supported", headers=headers)
    return ApiError(error.status_code, str(error.detail), headers=headers)
