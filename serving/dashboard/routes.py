"""The dashboard's paths: its page, its files, and the figures that it shows."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from serving.dashboard.figures import Figures
from serving.dashboard.pages import HEADERS, INDEX, Pages
from serving.flow.gateway import Gateway
from serving.http.answering import as_json
from serving.http.errors import invalid_request

SHORTEST_S, LONGEST_S = 60.0, 366 * 86_400.0


def dashboard(gateway: Gateway) -> APIRouter:
    """Everything below `/dashboard`; whether it needs a key is the guard's business."""
    pages, figures = Pages(), Figures(gateway)
    routes = APIRouter(include_in_schema=False)

    @routes.get("/dashboard")
    async def page(request: Request) -> Response:
        return pages.response(INDEX, request)

    @routes.get("/dashboard/api/overview")
    async def overview(request: Request) -> Response:
        length_s = _number(request, "seconds", 86_400.0, SHORTEST_S, LONGEST_S)
        return as_json(await figures.overview(length_s), headers=HEADERS)

    @routes.get("/dashboard/api/decisions")
    async def decisions(request: Request) -> Response:
        limit = int(_number(request, "limit", 30, 1, 200))
        before_s = _number(request, "before_s", 0.0, 0.0, 1e12) or None
        answered = request.query_params.get("answered") == "true"
        return as_json(await figures.decisions(limit, before_s, answered), headers=HEADERS)

    @routes.get("/dashboard/{name}")
    async def file(name: str, request: Request) -> Response:
        return pages.response(name, request)

    return routes


def _number(request: Request, name: str, default: float, low: float, high: float) -> float:
    """A number of the query string; `ApiError` 400 if it is none, or out of range."""
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise invalid_request(f"`{name}` must be a number from {low:g} to {high:g}.", name, "invalid_value")
    return value
