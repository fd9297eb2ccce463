"""Running a gateway: signals, ports, and failures to start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from probes.errors import ConfigError, UsageError
from serving.run import background_gateway
from serving.settings import GatewaySettings
from tests.serving.routing import pool_of, router_of

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
from serving.run import serve
from tests.serving.routing import pool_of, router_of
pool = pool_of({"far": {"kind": "openai", "url": "http://127.0.0.1:9/v1"}}, {"small": {"backend": "far"}})
serve(pool, router_of(pool), port=0)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_cleanly(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, env=dict(os.environ), stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        told = ""
        for line in server.stderr:
            told += line
            if line == "Stop with Ctrl-C.\n":
                break
        url = next(word for word in told.split() if word.startswith("http://"))
        with urllib.request.urlopen(url.removesuffix("/v1") + "/health", timeout=10) as response:
            assert response.status == 200
        server.send_signal(number)
        _, rest = server.communicate(timeout=30)

    assert server.returncode == 0
    assert rest == ""
    assert "curl http://127.0.0.1:" in told


def test_a_pool_that_nobody_answers_is_not_ready(dead_port: int) -> None:
    pool = pool_of(
        {"far": {"kind": "openai", "url": f"http://127.0.0.1:{dead_port}/v1"}}, {"small": {"backend": "far"}}
    )
    with background_gateway(pool, router_of(pool)) as url:
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(url.removesuffix("/v1") + "/ready", timeout=10)
        body = caught.value.read()
        caught.value.close()

    assert caught.value.code == 503
    assert b'"unavailable"' in body


def test_a_taken_port_is_a_clear_error() -> None:
    pool = pool_of({"far": {"kind": "openai", "url": "http://127.0.0.1:9/v1"}}, {"small": {"backend": "far"}})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = GatewaySettings(port=taken.getsockname()[1])

        with pytest.raises(UsageError, match="cannot listen") as caught:
            background_gateway(pool, router_of(pool), settings=settings).__enter__()

    assert caught.value.param == "port"


def test_a_backend_that_cannot_start_stops_everything(tmp_path: Path) -> None:
    pool = pool_of({"gone": {"kind": "local", "model_path": str(tmp_path)}}, {"small": {"backend": "gone"}})

    with pytest.raises(ConfigError, match="No transformers model"):
        background_gateway(pool, router_of(pool)).__enter__()


def test_a_key_that_is_not_set_is_named() -> None:
    far = {"kind": "openai", "url": "http://127.0.0.1:9/v1", "api_key_env": "FORESIGHT_TEST_KEY"}
    pool = pool_of({"far": far}, {"small": {"backend": "far"}})

    with pytest.raises(ConfigError, match="FORESIGHT_TEST_KEY") as caught:
        background_gateway(pool, router_of(pool)).__enter__()

    assert caught.value.param == "backends.far.api_key_env"


def test_two_models_on_one_vllm_server_are_refused(tmp_path: Path) -> None:
    backends = {"one": {"kind": "vllm", "model_path": str(tmp_path)}}
    candidates = {"small": {"backend": "one", "model": "a"}, "large": {"backend": "one", "model": "b"}}
    pool = pool_of(backends, candidates)

    with pytest.raises(ConfigError, match="serves one model"):
        background_gateway(pool, router_of(pool)).__enter__()


def test_importing_the_package_is_light() -> None:
    script = "import sys, serving; print([m for m in ('fastapi', 'torch', 'aiohttp') if m in sys.modules])"
    shown = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert shown.stdout.strip() == "[]"
