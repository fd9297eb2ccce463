"""The dashboard's own files, and the headers that keep everything else out of the page."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from serving.http.errors import ApiError

STATIC = Path(__file__).parent / "static"
INDEX = "index.html"

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
"""Nothing from other hosts, nothing inline, and no text that could become markup or a script."""

HEADERS: Mapping[str, str] = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class _File:
    content: bytes
    media_type: str
    etag: str


class Pages:
    """The files below `static/`, read once, when the first of them is asked for."""

    def __init__(self) -> None:
        self._files: dict[str, _File] = {}

    def response(self, name: str, request: Request) -> Response:
        """One file; `ApiError` 404 where there is none of this name."""
        if not self._files:
            self._files = {path.name: _read(path) for path in STATIC.iterdir() if path.suffix in _TYPES}
        found = self._files.get(name)
        if found is None:
            raise ApiError(404, "The dashboard has no such page.", code="unknown_url")
        headers = {**HEADERS, "etag": found.etag}
        if request.headers.get("if-none-match") == found.etag:
            return Response(status_code=304, headers=headers)
        return Response(found.content, media_type=found.media_type, headers=headers)


def _read(path: Path) -> _File:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:16]
    return _File(content, f"{_TYPES[path.suffix]}; charset=utf-8", f'"{digest}"')
