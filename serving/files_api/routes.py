"""`/v1/files` and `/v1/batches`: which path does what."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from serving.files_api.desk import Desk
from serving.files_api.request import BatchRequest
from serving.http.documentation import body_of, errors

_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string"},
                    },
                }
            }
        },
    }
}


def files_and_batches(desk: Desk) -> APIRouter:
    """The routes over one desk."""
    routes = APIRouter(prefix="/v1", responses=errors())
    _files(routes, desk)
    _batches(routes, desk)
    return routes


def _files(routes: APIRouter, desk: Desk) -> None:
    @routes.post("/files", openapi_extra=_FORM)
    async def upload(request: Request) -> Response:
        """Keep a file; it goes to disk as it arrives."""
        return await desk.upload(request)

    @routes.get("/files")
    async def files(request: Request) -> Response:
        """The files of the caller's key."""
        return await desk.files(request)

    @routes.get("/files/{name}")
    async def file(request: Request, name: str) -> Response:
        """One of them."""
        return await desk.file(request, name)

    @routes.get("/files/{name}/content")
    async def content(request: Request, name: str) -> Response:
        """Its content."""
        return await desk.content(request, name)

    @routes.delete("/files/{name}")
    async def delete(request: Request, name: str) -> Response:
        """Remove it."""
        return await desk.delete(request, name)


def _batches(routes: APIRouter, desk: Desk) -> None:
    @routes.post("/batches", **body_of(BatchRequest))
    async def create(request: Request) -> Response:
        """Answer the lines of an uploaded file; each is routed where its model is `auto`."""
        return await desk.create(request)

    @routes.get("/batches")
    async def batches(request: Request) -> Response:
        """The batches of the caller's key."""
        return await desk.batches(request)

    @routes.get("/batches/{name}")
    async def batch(request: Request, name: str) -> Response:
        """One of them."""
        return await desk.batch(request, name)

    @routes.post("/batches/{name}/cancel")
    async def cancel(request: Request, name: str) -> Response:
        """End it; its answers so far become its output."""
        return await desk.cancel(request, name)
