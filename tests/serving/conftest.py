"""A gateway over real in-process models, and gateways over upstreams that misbehave."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from openai import OpenAI

from router.configuration.pool import Pool
from serving.run import background_gateway, running_gateway
from serving.settings import GatewaySettings
from serving.vllm.process import free_port
from tests.serving.ledger.postgres import MISSING, REASON, PostgresServer
from tests.serving.routing import pool_of, router_of
from tests.serving.upstream import Behaviour, upstream


@pytest.fixture(scope="session")
def local_pool(tiny_llama: Path) -> Pool:
    """Three candidates, two of them one model with and without thinking, on one in-process backend."""
    greedy = {"temperature": 0, "max_tokens": 8}
    backends = {"tiny": {"kind": "local", "model_path": str(tiny_llama)}}
    thinking = {**greedy, "chat_template_kwargs": {"enable_thinking": True}}
    candidates = {
        "small": {"backend": "tiny", "model": "tiny", "decoding": greedy},
        "small:think": {"backend": "tiny", "model": "tiny", "decoding": thinking},
        "large": {"backend": "tiny", "model": "tiny", "decoding": greedy},
    }
    return pool_of(backends, candidates)


@pytest.fixture(scope="session")
def gateway_url(local_pool: Pool) -> Iterator[str]:
    """Base URL of a gateway whose answers come from a real model."""
    with background_gateway(local_pool, router_of(local_pool)) as url:
        yield url


@pytest.fixture
def client(gateway_url: str) -> Iterator[OpenAI]:
    """The official client, pointed at the gateway."""
    with OpenAI(base_url=gateway_url, api_key="none", max_retries=0) as client:
        yield client


@asynccontextmanager
async def gateway_over(*urls: str, **settings: Any) -> AsyncIterator[str]:
    """A gateway whose candidates `small` and `large` are at these URLs."""
    names = ["small", "large"][: len(urls)]
    backends = {f"at-{name}": {"kind": "openai", "url": url} for name, url in zip(names, urls, strict=True)}
    pool = pool_of(backends, {name: {"backend": f"at-{name}"} for name in names})
    chosen = GatewaySettings(port=0, drain_s=1, **settings)
    async with running_gateway(pool, router_of(pool), settings=chosen) as url:
        yield url


@asynccontextmanager
async def behind(*behaviours: Behaviour, **settings: Any) -> AsyncIterator[Any]:
    """A gateway before upstreams that behave like this: its URL, then the upstreams."""
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(upstream(behaviour)) for behaviour in behaviours]
        url = await stack.enter_async_context(gateway_over(*(server.url for server in servers), **settings))
        yield (url, *servers)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A plain HTTP client."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def dead_port() -> int:
    """A port that nothing listens on."""
    return free_port()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running server."""
    if MISSING:
        pytest.skip(REASON)
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()
