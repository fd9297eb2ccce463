"""Fixtures that all tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.vllm.environment import VllmEnvironment
from serving.vllm.process import VllmServer
from tests.tiny import make_tiny_llama, tiny_server_options

# Every variable that would change what a test does on somebody's machine.
FOREIGN_VARIABLES = (
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_COLOR",
)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in FOREIGN_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Coroutine tests run on asyncio: aiohttp, and with it the gateway, knows no other loop."""
    return "asyncio"


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformers folder: random Llama, grouped-query attention, `enable_thinking` template."""
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    make_tiny_llama(folder)
    return folder


@pytest.fixture(scope="session")
def vllm_environment() -> VllmEnvironment:
    """The environment of `make setup`; without it `vllm` tests fail (leave them out with -m 'not vllm')."""
    return VllmEnvironment.find()


@pytest.fixture(scope="session")
def vllm_server(
    tiny_llama: Path, vllm_environment: VllmEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VllmServer]:
    """A real vLLM server of the tiny Llama, served as `tiny`; its address is `.url`."""
    options = tiny_server_options(tiny_llama)
    log_path = tmp_path_factory.mktemp("vllm") / "tiny.log"
    with VllmServer(options, log_path=log_path, environment=vllm_environment) as server:
        yield server
