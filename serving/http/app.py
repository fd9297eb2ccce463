"""The HTTP face: which path does what. No logic in here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp

from probes.errors import ForesightError
from serving.dashboard.routes import dashboard
from serving.files_api.desk import Desk
from serving.files_api.routes import files_and_batches
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


def create_app(gateway: Gateway) -> ASGIApp:
    """The ASGI application of one gateway; its lifespan starts and closes the gateway.

    What every request passes stands in front of FastAPI, whose own layers the busy endpoints do not need.
    """
    answering = Answering(gateway)
    direct = Direct(_documented(gateway, answering), answering.handlers(), gateway.admission)
    edge = Edge(KeyDoor(direct, gateway.guard), gateway.metrics)
    return edge if gateway.tracing is None else gateway.tracing.door(edge)


def _documented(gateway: Gateway, answering: Answering) -> FastAPI:
    """Every endpoint, with its page of the OpenAPI document."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            await gateway.start()
            if desk is not None:
                await desk.runner.start()
            yield
        finally:
            if desk is not None:
                await desk.runner.close()  # while the backends can still answer
            await gateway.close()

    desk = None if gateway.settings.files is None else Desk(gateway, gateway.settings.files)
    app = FastAPI(
        title="Foresight",
        summary="An OpenAI-compatible endpoint: each query goes to the cheapest model likely to answer it.",
        lifespan=lifespan,
        docs_url=None,  # both pages would load scripts from other hosts
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # its logs would hold prompts
    )
    kinds = (ApiError, ForesightError, HTTPException, RequestValidationError, ClientDisconnect, Exception)
    for kind in kinds:
        app.add_exception_handler(kind, _on_error)
    app.include_router(_answers(gateway, answering))
    app.include_router(_operations(gateway))
    app.include_router(dashboard(gateway))
    if desk is not None:
        app.include_router(files_and_batches(desk))
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
    if isinstance(error, ClientDisconnect):
        return Response(status_code=499)
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
