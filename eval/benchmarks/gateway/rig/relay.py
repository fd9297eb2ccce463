"""The floor: a bare ASGI relay that parses nothing and checks nothing; run as a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import uvicorn

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class Relay:
    """Passes requests to one URL, and its answers back as they come.

    Parameters
    ----------
    url
        Base URL of the upstream, without a path.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Relay one request."""
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
            self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        url, told = self._url + scope["path"], {"content-type": "application/json"}
        async with self._session.request(scope["method"], url, data=body, headers=told) as response:
            kept = ("content-type", "content-length")
            headers = [
                (k.lower().encode(), v.encode()) for k, v in response.headers.items() if k.lower() in kept
            ]
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
            if response.content_length is not None:
                await send({"type": "http.response.body", "body": await response.read()})
                return
            async for chunk in response.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    uvicorn.run(
        Relay(sys.argv[2]),
        port=int(sys.argv[1]),
        lifespan="off",
        access_log=False,
        log_level="warning",
        backlog=4096,
    )
