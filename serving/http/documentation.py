"""The OpenAPI document of endpoints whose bodies are read raw (to be forwarded as they came)."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from serving.files_api.request import BatchRequest
from serving.http.protocol import ChatRequest, CompletionRequest, RouteRequest
from serving.ledger.feedback import FeedbackRequest
from serving.responses_api.request import ResponseRequest

REFERENCE = "#/components/schemas/{model}"
BODIES: tuple[type[BaseModel], ...] = (
    ChatRequest,
    CompletionRequest,
    ResponseRequest,
    RouteRequest,
    FeedbackRequest,
    BatchRequest,
)

_NULLABLE = {"type": ["string", "null"]}
ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": _NULLABLE,
                "code": _NULLABLE,
            },
        }
    },
}
"""The one shape of every error."""


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """Arguments of a route decorator that document its request body and its errors."""
    schema = {"$ref": REFERENCE.format(model=model.__name__)}
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {"openapi_extra": {"requestBody": body}, "responses": errors()}


def errors() -> dict[int | str, dict[str, Any]]:
    """The `responses` argument of a route: any status may carry an error."""
    content = {"application/json": {"schema": {"$ref": REFERENCE.format(model="Error")}}}
    return {status: {"description": "An error", "content": content} for status in ("4XX", "5XX")}


def document(app: FastAPI) -> None:
    """Let the application's OpenAPI document hold the schemas that its routes refer to."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
            _, bodies = models_json_schema(
                [(model, "validation") for model in BODIES], ref_template=REFERENCE
            )
            schemas = schema.setdefault("components", {}).setdefault("schemas", {})
            schemas |= {"Error": ERROR_SCHEMA, **bodies["$defs"]}
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
