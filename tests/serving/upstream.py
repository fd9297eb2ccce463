"""An OpenAI-compatible server that misbehaves on demand: for faults only, answers come from real models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Behaviour = Callable[["Upstream", web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


@dataclass
class Upstream:
    """What the server does next, and what it saw."""

    behaviour: Behaviour
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    cancelled: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        self.bodies.append(body)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        try:
            return await self.behaviour(self, request, body)
        except (asyncio.CancelledError, ConnectionResetError):
            self.cancelled += 1
            raise


def chunk(text: str | None = None, finish: str | None = None) -> bytes:
    """One chat chunk as an event."""
    choice = {"index": 0, "delta": {} if text is None else {"content": text}, "finish_reason": finish}
    payload = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [choice],
    }
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "four"},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ],
    "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
    "an_unknown_field": {"kept": True},
}


async def _stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    return response


def streams(*parts: bytes, pause_s: float = 0.0) -> Behaviour:
    """Send these bytes one after another, then end the body properly."""

    async def behave(_: Upstream, request: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        response = await _stream(request)
        for part in parts:
            await response.write(part)
            await asyncio.sleep(pause_s)
        await response.write_eof()
        return response

    return behave


def cuts(*parts: bytes) -> Behaviour:
    """Send these bytes, then reset the connection."""

    async def behave(_: Upstream, request: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        response = await _stream(request)
        for part in parts:
            await response.write(part)
        await asyncio.sleep(0.02)
        assert request.transport is not None
        request.transport.abort()
        return response

    return behave


def hangs(*parts: bytes) -> Behaviour:
    """Send these bytes (none: not even a status), then nothing, for ever."""

    async def behave(_: Upstream, request: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        if parts:
            response = await _stream(request)
            for part in parts:
                await response.write(part)
        await asyncio.sleep(3600)
        raise AssertionError("nobody waits an hour")

    return behave


def answers(status: int = 200, body: Any = None, **headers: str) -> Behaviour:
    """Answer with this status, this body (JSON, or bytes as they are) and these headers."""

    async def behave(_: Upstream, __: web.Request, ___: dict[str, Any]) -> web.StreamResponse:
        content = body if isinstance(body, bytes) else json.dumps(ANSWER if body is None else body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(
            status=status, body=content, headers={"content-type": "application/json", **named}
        )

    return behave


@asynccontextmanager
async def upstream(behaviour: Behaviour) -> AsyncIterator[Upstream]:
    """A running server on the loopback."""
    state = Upstream(behaviour)
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/v1/{endpoint:.*}", state.handle)
    app.router.add_get("/v1/models", _models)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    state.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield state
    finally:
        await runner.cleanup()


async def _models(_: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": []})
