"""Upstreams that misbehave: before the first byte another candidate answers, after it the client is told."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from serving.http.sse import DONE
from tests.serving.conftest import behind, gateway_over
from tests.serving.upstream import Behaviour, answers, chunk, cuts, hangs, streams, upstream

EASY = {"model": "auto", "messages": [{"role": "user", "content": "easy"}]}
GOOD = (chunk("fo"), chunk("ur"), chunk(finish="stop"), DONE)
ERROR_EVENT = b'data: {"error": {"message": "CUDA out of memory: secret prompt", "code": 500}}\n\n'
FAST = {"first_byte_timeout_s": 0.3, "idle_timeout_s": 0.3, "connect_timeout_s": 0.3}

Http = aiohttp.ClientSession


async def post(http: Http, url: str, **fields: Any) -> tuple[int, Any, bytes]:
    """Status, headers and body of one chat completion."""
    async with http.post(f"{url}/chat/completions", json={**EASY, **fields}) as response:
        return response.status, response.headers, await response.read()


def error_of(body: bytes) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


BEFORE_THE_FIRST_BYTE = [
    pytest.param(answers(500), id="500"),
    pytest.param(answers(502, b"<html>bad gateway</html>"), id="502-html"),
    pytest.param(answers(429, retry_after="3"), id="429"),
    pytest.param(answers(401), id="wrong-key"),
    pytest.param(answers(404), id="wrong-model"),
    pytest.param(answers(200, b"<html>not json</html>"), id="garbage"),
    pytest.param(answers(200, {"error": {"message": "no"}}), id="error-in-200"),
    pytest.param(answers(200, b""), id="empty"),
    pytest.param(hangs(), id="hang"),
    pytest.param(cuts(), id="cut"),
    pytest.param(streams(ERROR_EVENT, DONE), id="error-event"),
    pytest.param(streams(chunk("fo") + ERROR_EVENT + DONE), id="error-event-in-the-first-packet"),
    pytest.param(hangs(b": keep-alive\n\n"), id="only-comments"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", BEFORE_THE_FIRST_BYTE)
async def test_the_next_of_the_ranking_answers(http: Http, fault: Behaviour, stream: bool) -> None:
    good = streams(*GOOD) if stream else answers()
    async with behind(fault, good, **FAST) as (url, first, second):
        status, headers, body = await post(http, url, stream=stream)

    assert status == 200
    assert headers["x-foresight-candidate"] == "large"
    assert "small failed" in headers["x-foresight-reason"]
    assert body == b"".join(GOOD) if stream else b"four" in body
    assert len(first.bodies) == len(second.bodies) == 1


async def test_a_backend_that_is_not_there_is_passed_over(http: Http, dead_port: int) -> None:
    dead = f"http://127.0.0.1:{dead_port}/v1"
    async with upstream(answers()) as second, gateway_over(dead, second.url, **FAST) as url:
        status, headers, _ = await post(http, url)
        assert (status, headers["x-foresight-candidate"]) == (200, "large")

        status, _, body = await post(http, url, model="small")
        assert status == 502
        assert error_of(body)["code"] == "backend_connect"


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (answers(500), 502, "backend_status"),
        (answers(429, retry_after="7"), 429, "backend_overloaded"),
        (answers(503), 503, "backend_overloaded"),
        (hangs(), 504, "backend_timeout"),
        (answers(200, b"{"), 502, "backend_garbage"),
    ],
)
async def test_a_candidate_that_was_named_is_never_replaced(
    http: Http, fault: Behaviour, status: int, code: str
) -> None:
    async with behind(fault, answers(), **FAST) as (url, _first, second):
        got, headers, body = await post(http, url, model="small")

    assert got == status
    assert error_of(body)["code"] == code
    assert headers.get("retry-after") == ("7" if status == 429 else None)
    assert not second.bodies


async def test_when_all_fail_the_client_hears_of_the_last(http: Http) -> None:
    async with behind(answers(500), answers(429, retry_after="2")) as (url, _first, _second):
        status, headers, body = await post(http, url)

    assert status == 503
    assert headers["retry-after"] == "2"
    assert "2 candidates" in error_of(body)["message"]


async def test_the_clients_own_mistake_is_not_tried_elsewhere(http: Http) -> None:
    body = {"error": {"message": "temperature must be non-negative", "type": "BadRequestError", "code": 400}}
    async with behind(answers(400, body), answers()) as (url, _first, second):
        status, _, told = await post(http, url, temperature=-1)

    assert status == 400
    assert error_of(told)["message"] == "temperature must be non-negative"
    assert error_of(told)["code"] is None
    assert not second.bodies


class TestAfterTheFirstByte:
    @pytest.mark.parametrize(
        ("fault", "code"),
        [
            pytest.param(cuts(chunk("fo"), b'data: {"half'), "backend_cut", id="reset-in-an-event"),
            pytest.param(streams(chunk("fo"), b'data: {"half'), "backend_cut", id="end-in-an-event"),
            pytest.param(streams(chunk("fo")), "backend_cut", id="end-without-done"),
            pytest.param(hangs(chunk("fo")), "backend_timeout", id="silence"),
            pytest.param(
                streams(chunk("fo"), ERROR_EVENT, DONE, pause_s=0.1), "backend_cut", id="error-event"
            ),
        ],
    )
    async def test_an_error_event_ends_the_stream(self, http: Http, fault: Behaviour, code: str) -> None:
        async with behind(fault, streams(*GOOD), **FAST) as (url, _first, second):
            status, _, body = await post(http, url, stream=True)

        events = body.split(b"\n\n")
        assert status == 200
        assert events[0] + b"\n\n" == chunk("fo")
        assert error_of(events[1].removeprefix(b"data: "))["code"] == code
        assert events[2:] == [b""]
        assert b"secret" not in body
        assert not second.bodies

    async def test_slow_bytes_are_relayed_as_they_come(self, http: Http) -> None:
        async with behind(streams(*GOOD, pause_s=0.1)) as (url, _first):
            times = []
            response = await http.post(f"{url}/chat/completions", json={**EASY, "stream": True})
            async for part, _ in response.content.iter_chunks():
                times.append((asyncio.get_running_loop().time(), part))

        assert b"".join(part for _, part in times) == b"".join(GOOD)
        assert times[-1][0] - times[0][0] > 0.2

    @pytest.mark.parametrize("size", [1, 2, 7, 1000])
    async def test_any_cutting_of_the_stream_gives_the_same_bytes(self, http: Http, size: int) -> None:
        whole = b"".join(GOOD)
        parts = [whole[start : start + size] for start in range(0, len(whole), size)]
        async with behind(streams(*parts)) as (url, _first):
            _, _, body = await post(http, url, stream=True)

        assert body == whole


class TestClientsThatLeave:
    @pytest.mark.parametrize("stream", [False, True])
    async def test_leaving_before_the_first_byte_reaches_the_backend(self, stream: bool) -> None:
        async with behind(hangs()) as (url, first):
            async with aiohttp.ClientSession() as http:
                request = asyncio.create_task(post(http, url, stream=stream))
                await until(lambda: bool(first.bodies))
                request.cancel()
                await asyncio.gather(request, return_exceptions=True)
            await until(lambda: first.cancelled == 1)

    async def test_leaving_a_stream_reaches_the_backend(self) -> None:
        async with behind(hangs(chunk("fo"))) as (url, first):
            async with aiohttp.ClientSession() as http:
                response = await http.post(f"{url}/chat/completions", json={**EASY, "stream": True})
                await response.content.readany()
                response.close()
            await until(lambda: first.cancelled == 1)
            assert 'outcome="aborted"' in await metrics(url)


class TestForwarding:
    async def test_only_the_model_is_changed(self, http: Http) -> None:
        fields = {"future": {"a": [1, 2.5, None, "ü"]}, "temperature": 0.3, "foresight": {"explain": True}}
        async with behind(answers()) as (url, first):
            _, headers, body = await post(http, url, **fields)

        sent = {name: value for name, value in fields.items() if name != "foresight"}
        assert first.bodies == [{**EASY, **sent, "model": "m"}]
        assert first.headers[0]["x-request-id"] == headers["x-request-id"]
        assert "authorization" not in first.headers[0]
        assert json.loads(body)["an_unknown_field"] == {"kept": True}

    async def test_the_answers_bytes_are_not_touched(self, http: Http) -> None:
        raw = b'{ "choices" : [ ],\n "odd":1.50, "text": "\\u00fc" }'
        async with behind(answers(200, raw)) as (url, _first):
            _, _, body = await post(http, url)
            _, _, explained = await post(http, url, foresight={"explain": True})

        assert body == raw
        assert explained.startswith(raw.rstrip(b" }"))
        assert json.loads(explained)["foresight"]["candidate"] == "small"

    async def test_a_kept_connection_that_the_backend_closed_is_no_failure(self, http: Http) -> None:
        async with behind(answers(connection="close")) as (url, _first):
            statuses = [(await post(http, url))[0] for _ in range(3)]

        assert statuses == [200, 200, 200]


class TestMetrics:
    async def test_exchanges_failures_tokens_and_cost_are_counted(self, http: Http) -> None:
        async with behind(answers(500), answers()) as (url, _first, _second):
            await post(http, url)
            text = await metrics(url)

        for line in (
            'foresight_requests_total{candidate="large",endpoint="chat/completions",outcome="ok"} 1.0',
            'foresight_backend_failures_total{backend="at-small",kind="status"} 1.0',
            'foresight_decisions_total{candidate="small",policy="cheapest-likely"} 1.0',
            'foresight_tokens_total{candidate="large",direction="input"} 7.0',
            'foresight_tokens_total{candidate="large",direction="output"} 2.0',
            'foresight_http_responses_total{code="200",route="/v1/chat/completions"} 1.0',
        ):
            assert line in text
        cost_usd = next(line for line in text.splitlines() if line.startswith("foresight_cost_usd_total"))
        assert float(cost_usd.split()[-1]) == pytest.approx((7 * 10 + 2 * 20) / 1e6)

    async def test_usage_of_a_stream_is_read_where_it_is_sent(self, http: Http) -> None:
        usage = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}\n\n'
        async with behind(streams(*GOOD[:-1], usage, DONE)) as (url, _first):
            await post(http, url, stream=True)
            text = await metrics(url)

        assert 'foresight_tokens_total{candidate="small",direction="input"} 5.0' in text

    async def test_prompts_are_in_no_label(self, http: Http) -> None:
        async with behind(answers()) as (url, _first):
            await post(http, url, model="my secret", user="my secret")
            await http.get(url.removesuffix("/v1") + "/my-secret")
            text = await metrics(url)

        assert "secret" not in text


async def metrics(url: str) -> str:
    """The text of /metrics."""
    async with aiohttp.ClientSession() as http, http.get(url.removesuffix("/v1") + "/metrics") as response:
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        return await response.text()


async def until(condition: Any, timeout_s: float = 5.0) -> None:
    """Wait for something that happens in another task."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)
