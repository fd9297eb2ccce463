"""Gateways that take files and batches, in this event loop or as a process, and what clients ask of them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from openai import AsyncOpenAI

from serving.keys.file import write_keys
from serving.keys.key import Key, KeyRing, hashed, new_secret
from serving.run import running_gateway
from serving.settings import FileSettings, GatewaySettings, KeySettings, LedgerSettings
from tests.serving.routing import pool_of, router_of
from tests.serving.upstream import Behaviour, Upstream

GREEDY = {"temperature": 0, "max_tokens": 16}


def echoes(delay_s: float = 0.0) -> Behaviour:
    """Repeats the question after the model's name, and counts words."""

    async def behave(_: Upstream, __: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(delay_s)
        text = body["messages"][-1]["content"]
        message = {"role": "assistant", "content": f"{body['model']}: {text}"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": len(text.split()), "completion_tokens": 8, "total_tokens": 9}
        whole = {"id": "x", "object": "chat.completion", "created": 1, "model": body["model"]}
        return web.json_response({**whole, "choices": [choice], "usage": usage})

    return behave


def lines(n: int, **body: Any) -> bytes:
    words = ("easy", "hard")
    rows = []
    for i in range(n):
        messages = [{"role": "user", "content": f"{words[i % 2]} question {i}"}]
        row = {"custom_id": f"q{i:04}", "method": "POST", "url": "/v1/chat/completions"}
        rows.append(json.dumps({**row, "body": {"model": "auto", "messages": messages, **body}}))
    return "\n".join(rows).encode()


def pool_at(url: str) -> Any:
    candidates = {name: {"backend": "far", "model": name, "decoding": GREEDY} for name in ("small", "large")}
    return pool_of({"far": {"kind": "openai", "url": url}}, candidates)


@asynccontextmanager
async def desk(
    folder: Path,
    url: str,
    keys: dict[str, dict[str, Any]] | None = None,
    secrets: dict[str, str] | None = None,
    **files: Any,
) -> AsyncIterator[dict[str, AsyncOpenAI]]:
    """A gateway with files; a client for each key, or one called `all`."""
    given = {name: (secrets or {}).get(name) or new_secret(name) for name in keys or {}}
    if keys is not None:
        ring = [
            Key.model_validate({"id": n, "sha256": hashed(given[n]), **limits}) for n, limits in keys.items()
        ]
        write_keys(folder / "keys.yaml", KeyRing(keys=tuple(ring)))
    settings = GatewaySettings(
        port=0,
        drain_s=1,
        folder=folder,
        files=FileSettings.model_validate({"poll_s": 0.05, **files}),
        keys=None if keys is None else KeySettings(file=Path("keys.yaml")),
        ledger=None if keys is None else LedgerSettings(url="ledger.db", flush_s=0.01),
    )
    pool = pool_at(url)
    async with running_gateway(pool, router_of(pool), settings=settings) as base:
        clients = {
            name: AsyncOpenAI(base_url=base, api_key=secret, max_retries=0)
            for name, secret in (given or {"all": "none"}).items()
        }
        try:
            yield clients
        finally:
            for client in clients.values():
                await client.close()


async def submit(client: AsyncOpenAI, content: bytes, **more: Any) -> Any:
    file = await client.files.create(file=("lines.jsonl", content), purpose="batch")
    return await client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", **more
    )


async def over(client: AsyncOpenAI, batch_id: str) -> Any:
    async with asyncio.timeout(30):
        while True:
            batch = await client.batches.retrieve(batch_id)
            if batch.status in ("completed", "failed", "expired", "cancelled"):
                return batch
            await asyncio.sleep(0.05)


async def rows(client: AsyncOpenAI, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id is not None
    content = await client.files.content(file_id)
    return [json.loads(line) for line in content.text.splitlines()]


async def submit_file(client: AsyncOpenAI, file_id: str) -> Any:
    return await client.batches.create(
        input_file_id=file_id, endpoint="/v1/chat/completions", completion_window="24h"
    )


SERVER = """
import asyncio, sys
from pathlib import Path
from serving.run import running_gateway
from serving.settings import FileSettings, GatewaySettings
from tests.serving.files_api.desk import pool_at
from tests.serving.routing import router_of

async def main():
    pool = pool_at(sys.argv[2])
    files = FileSettings(poll_s=0.05, concurrency=4)
    settings = GatewaySettings(port=0, folder=Path(sys.argv[1]), files=files)
    async with running_gateway(pool, router_of(pool), settings=settings) as url:
        print(url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def process(folder: Path, url: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, AsyncOpenAI]]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVER, str(folder), url, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    base = (await child.stdout.readline()).decode().strip()
    try:
        async with AsyncOpenAI(base_url=base, api_key="none", max_retries=0) as client:
            yield child, client
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()
