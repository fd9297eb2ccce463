"""Bad requests over HTTP: OpenAI's error shape for every status, never a traceback, never an echo."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "easy"}]}
SECRET = "my-secret-prompt"

Http = aiohttp.ClientSession


async def send(
    http: Http, url: str, body: Any, path: str = "/chat/completions"
) -> tuple[int, dict[str, Any]]:
    """Status and error of one request; checks what holds for every error."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with http.post(url + path, data=data) as response:
        raw = await response.read()
        assert response.headers["content-type"] == "application/json"
        assert response.headers["x-request-id"]
    assert len(raw) < 1000
    assert SECRET.encode() not in raw
    assert b"Traceback" not in raw
    error = json.loads(raw)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return response.status, error


@pytest.mark.parametrize(
    ("body", "status", "param", "code"),
    [
        (b"{", 400, "body", "invalid_json"),
        (b"", 400, "body", "invalid_json"),
        ([CHAT], 400, "body", "invalid_json"),
        ({**CHAT, "messages": []}, 400, "messages", "invalid_value"),
        ({"model": "auto"}, 400, "messages", "missing_required_parameter"),
        ({**CHAT, "model": "gpt-9"}, 404, "model", "model_not_found"),
        ({**CHAT, "messages": [{"role": "robot", "content": "x"}]}, 400, "messages[0].role", None),
        ({**CHAT, "messages": [{"role": "user"}]}, 400, "messages[0].content", None),
        ({**CHAT, "messages": [{"role": "user", "content": 3}]}, 400, "messages[0].content", None),
        ({**CHAT, "chat_template_kwargs": 1}, 400, "chat_template_kwargs", "invalid_value"),
        ({**CHAT, "model": "small", "stop": 7, "user": SECRET}, 400, "stop", "invalid_value"),
        ({**CHAT, "messages": [{"role": "user", "content": SECRET * 600}]}, 400, "messages", None),
    ],
)
async def test_a_bad_request_is_a_400_that_names_the_field(
    http: Http, gateway_url: str, body: Any, status: int, param: str, code: str | None
) -> None:
    got, error = await send(http, gateway_url, body)

    assert (got, error["param"]) == (status, param)
    assert error["type"] == "invalid_request_error"
    if code is not None:
        assert error["code"] == code


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/chat/completions", 405, "method_not_supported"),
        ("DELETE", "/models", 405, "method_not_supported"),
        ("POST", "/nothing", 404, "unknown_url"),
        ("GET", "/", 404, "unknown_url"),
    ],
)
async def test_an_unknown_path_or_method(
    http: Http, gateway_url: str, method: str, path: str, status: int, code: str
) -> None:
    async with http.request(method, gateway_url + path) as response:
        body = await response.json()

    assert response.status == status
    assert body["error"]["code"] == code


async def test_a_body_that_is_too_large_is_a_413(http: Http, gateway_url: str) -> None:
    async def pieces() -> Any:
        for _ in range(9):
            yield b" " * (1 << 20)

    async with http.post(f"{gateway_url}/chat/completions", data=pieces()) as response:
        error = (await response.json())["error"]

    assert response.status == 413
    assert (error["param"], error["code"]) == ("body", "request_too_large")


def test_a_body_that_says_it_is_too_large_is_not_waited_for(gateway_url: str) -> None:
    where = urlsplit(gateway_url)
    with socket.create_connection((where.hostname, where.port), timeout=5) as connection:
        head = f"POST {where.path}/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {1 << 40}\r\n\r\n"
        connection.sendall(head.encode())

        assert connection.recv(100).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("given_id", ["mine-1", "a" * 128])
async def test_a_request_id_is_echoed(http: Http, gateway_url: str, given_id: str) -> None:
    async with http.get(f"{gateway_url}/models", headers={"x-request-id": given_id}) as response:
        assert response.headers["x-request-id"] == given_id


@pytest.mark.parametrize("given_id", ["", "a" * 129, "<script>", "a b"])
async def test_an_odd_request_id_is_replaced(http: Http, gateway_url: str, given_id: str) -> None:
    async with http.get(f"{gateway_url}/models", headers={"x-request-id": given_id}) as response:
        assert response.headers["x-request-id"].startswith("req_")


class TestOperations:
    async def test_health_says_that_the_process_runs(self, http: Http, gateway_url: str) -> None:
        async with http.get(gateway_url.removesuffix("/v1") + "/health") as response:
            assert (response.status, await response.json()) == (200, {"status": "ok"})

    async def test_ready_tells_of_backends_and_router(self, http: Http, gateway_url: str) -> None:
        async with http.get(gateway_url.removesuffix("/v1") + "/ready") as response:
            detail = await response.json()

        assert response.status == 200
        assert detail["status"] == "ready"
        assert detail["backends"] == {"tiny": {"state": "up", "detail": "", "breaker": "closed"}}
        assert detail["router"]["scout"] == "local"

    async def test_the_openapi_document_is_whole(self, http: Http, gateway_url: str) -> None:
        async with http.get(gateway_url.removesuffix("/v1") + "/openapi.json") as response:
            document = await response.json()

        schemas = document["components"]["schemas"]
        references = {part.split('"')[0] for part in json.dumps(document).split("#/components/schemas/")[1:]}
        assert references <= set(schemas)
        assert "foresight" in schemas["ChatRequest"]["properties"]


plain = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-9, 9) | st.text(max_size=5)
values = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
FIELDS = [
    *("model", "messages", "stream", "stop", "n", "max_tokens", "temperature", "top_p", "seed", "tools"),
    *("foresight", "response_format", "chat_template_kwargs", "stream_options", "logprobs"),
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.dictionaries(st.sampled_from(FIELDS), values, max_size=3),
    model=st.sampled_from(["auto", "small"]),
)
def test_no_request_makes_the_gateway_fail(gateway_url: str, changes: dict[str, Any], model: str) -> None:
    body = {"max_tokens": 1, **CHAT, "model": model, **changes}

    response = httpx2.post(f"{gateway_url}/chat/completions", json=body)

    assert response.status_code in (200, 400, 404), response.text
