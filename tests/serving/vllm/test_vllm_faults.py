"""A real vLLM server that is killed while it answers, and started again by the gateway."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from serving.assemble import make_gateway
from serving.backends.base import State
from serving.backends.vllm import ManagedVllm
from serving.flow.gateway import Gateway
from serving.http.sse import DONE
from serving.ledger.database import open_ledger
from serving.ledger.reading import money
from serving.ledger.reading.window import Window
from serving.run import listening
from serving.settings import GatewaySettings, LedgerSettings
from tests.serving.flow.test_gateway_faults import GOOD
from tests.serving.routing import pool_of, router_of
from tests.serving.upstream import streams, upstream

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(400)]

TALK = [{"role": "user", "content": "what is seven plus five"}]
BODY = {"model": "auto", "messages": TALK, "stream": True, "max_tokens": 400, "ignore_eos": True}
Http = aiohttp.ClientSession


async def test_kill_9_under_200_requests_loses_none_and_the_server_comes_back(
    tiny_llama: Path, tmp_path: Path
) -> None:
    options = {"kind": "vllm", "model_path": str(tiny_llama), "max_model_len": 512, "max_num_seqs": 32}
    async with upstream(streams(*GOOD)) as other, aiohttp.ClientSession() as http:
        pool = pool_of(
            {"own": options, "other": {"kind": "openai", "url": other.url}},
            {"small": {"backend": "own", "model": "tiny"}, "large": {"backend": "other"}},
        )
        settings = GatewaySettings(
            port=0,
            breaker_failures=5,
            breaker_rest_s=0.2,
            retries=0,
            ledger=LedgerSettings(url="ledger.db"),
            folder=tmp_path,
        )
        gateway = make_gateway(pool, router_of(pool), settings=settings, log_folder=tmp_path)
        async with listening(gateway) as (_, url):
            await gateway.ready()
            own = gateway.fleet.backends["own"]
            assert isinstance(own, ManagedVllm)
            asked = [asyncio.create_task(ask(http, url)) for _ in range(200)]
            await asyncio.sleep(1.0)
            assert own._server is not None
            assert own._server.pid is not None
            os.kill(own._server.pid, signal.SIGKILL)
            answered = Counter(await asyncio.gather(*asked))
            assert set(answered) <= {"whole", "error event"}
            assert answered["error event"] > 0 < answered["whole"]
            assert gateway._dispatcher.breakers["own"].state.value != "closed"
            await back(http, url, gateway)
    ledger = open_ledger(str(tmp_path / "ledger.db"))
    told = money.totals(ledger, Window(0, 4e9))
    ledger.close()
    assert told.errors == answered["error event"]
    assert told.requests >= 200


async def ask(http: Http, url: str, **changes: object) -> str:
    """How one request ended, as its client sees it."""
    async with http.post(f"{url}/chat/completions", json={**BODY, **changes}) as response:
        assert response.status == 200
        body = await response.read()
    if body.endswith(DONE):
        return "whole"
    return "error event" if b'"code": "backend_cut"' in body.split(b"\n\n")[-2] else f"{body[-200:]!r}"


async def back(http: Http, url: str, gateway: Gateway) -> None:
    """Wait until the server is up again, answers, and its breaker is closed."""
    async with asyncio.timeout(200):
        while (await gateway.fleet.backends["own"].health()).state is not State.UP:
            await asyncio.sleep(0.3)
        while gateway._dispatcher.breakers["own"].state.value != "closed":
            await ask(http, url, max_tokens=4)
            await asyncio.sleep(0.2)
    async with http.post(f"{url}/chat/completions", json={**BODY, "max_tokens": 4}) as response:
        assert response.headers["x-foresight-candidate"] == "small"
        await response.read()
