"""The HTTP face: which path does what. No logic in here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from probes.errors import ForesightError
from serving.flow.gateway import Gateway
from serving.http import protocol
from serving.http.answering import Answering, as_json, limited_body
from serving.http.direct import Direct
from serving.http.documentation import body_of, document, errors
from serving.http.edge import Edge
from serving.http.errors import ApiError, as_api_error, invalid_request
from serving.http.responses import error_response
from serving.keys.middleware import KeyDoor, key_of
from serving.ledger.feedback import FeedbackRequest, take_feedback
from serving.metrics import CONTENT_TYPE
from serving.responses_api.request import ResponseRequest


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
    answering = Answering(gateway)
    app.add_middleware(Direct, handlers=answering.handlers(), admission=gateway.admission)
    app.add_middleware(KeyDoor, guard=gateway.guard)
    app.add_middleware(Edge, metrics=gateway.metrics)
    for kind in (ApiError, ForesightError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _on_error)
    app.include_router(_answers(gateway, answering))
    app.include_router(_operations(gateway))
    document(app)
    return app


def _answers(gateway: Gateway, answering: Answering) -> APIRouter:
    """Documents what `Direct` answers, and answers the rest."""
    routes = APIRouter(prefix="/v1")
    routes.post("/chat/completions", **body_of(protocol.ChatRequest))(answering.chat_completions)
    routes.post("/completions", **body_of(protocol.CompletionRequest))(answering.completions)
    routes.post("/responses", **body_of(ResponseRequest))(answering.responses)
    routes.post("/route", **body_of(protocol.RouteRequest))(answering.route)

    @routes.get("/models")
    async def models() -> Response:
        """The names that `model` may take: `auto`, named policies, and the candidates."""
        return as_json(gateway.names.listing())

    @routes.get("/models/{name:path}", responses=errors())
    async def model(name: str) -> Response:
        """One of them."""
        return as_json(gateway.names.card(name))

    return routes


def _operations(gateway: Gateway) -> APIRouter:
    routes = APIRouter()

    @routes.get("/health")
    async def health() -> Response:
        """Whether this process runs."""
        return as_json({"status": "ok"})

    @routes.get("/ready", responses={503: {"description": "No candidate can answer"}})
    async def ready() -> Response:
        """Whether some candidate can answer; 503 if none can."""
        able, detail = await gateway.status()
        return as_json(detail, 200 if able else 503)

    @routes.post("/v1/feedback", **body_of(FeedbackRequest))
    async def feedback(request: Request) -> Response:
        """Say how good an answer was; the answer to this comes once it is on disk."""
        key = key_of(request)
        raw = await limited_body(request, gateway)
        return as_json(await take_feedback(gateway.ledger, raw, None if key is None else key.id))

    @routes.get("/metrics")
    async def metrics() -> Response:
        """Prometheus metrics."""
        return Response(gateway.metrics.render(), media_type=CONTENT_TYPE)

    return routes


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
