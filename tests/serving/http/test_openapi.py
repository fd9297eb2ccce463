"""Requests drawn from the gateway's own OpenAPI document: whatever fits it, or does not, is never a 5xx."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from serving.run import background_gateway
from serving.settings import GatewaySettings, LedgerSettings
from serving.vllm.process import free_port
from tests.serving.routing import pool_of, router_of

FAST = Path(__file__).resolve().parents[3] / "eval" / "benchmarks" / "gateway" / "rig" / "upstream.py"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway with a ledger, in front of a server that answers everything at once."""
    port, folder = free_port(), tmp_path_factory.mktemp("openapi")
    with subprocess.Popen([sys.executable, str(FAST), str(port)], env=dict(os.environ)) as process:
        pool = pool_of(
            {"far": {"kind": "openai", "url": f"http://127.0.0.1:{port}/v1"}}, {"small": {"backend": "far"}}
        )
        chosen = GatewaySettings(port=0, drain_s=1, ledger=LedgerSettings(url="ledger.db"), folder=folder)
        try:
            listening(port)
            with background_gateway(pool, router_of(pool), settings=chosen) as url:
                yield url.removesuffix("/v1")
        finally:
            process.kill()


def listening(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(port)


def test_no_request_is_a_server_error(gateway: str) -> None:
    schema = schemathesis.openapi.from_url(f"{gateway}/openapi.json")
    seen = 0
    for found in schema.get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]

        @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
        @given(case=operation.as_strategy())
        def answered(case: Any) -> None:
            response = case.call()
            assert response.status_code < 500, (case.as_curl_command(), response.text[:300])
            if response.status_code >= 400:
                assert set(response.json()["error"]) == {"message", "type", "param", "code"}

        answered()
        seen += 1
    assert seen >= 10


def test_the_gateway_is_well_afterwards(gateway: str) -> None:
    try:
        with urlopen(f"{gateway}/ready", timeout=10) as answer:
            assert answer.status == 200
    except URLError as error:
        pytest.fail(str(error))
