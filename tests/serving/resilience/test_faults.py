"""Faults met whole: slow and busy backends, clients that misbehave, limits of time and of room."""

from __future__ import annotations

import asyncio
import io
import json
import time
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from serving.http.sse import DONE
from tests.serving.conftest import behind
from tests.serving.flow.test_gateway_faults import EASY, GOOD, error_of, post, until
from tests.serving.upstream import ANSWER, Upstream, answers, chunk, hangs, streams

Http = aiohttp.ClientSession


def one_after_another(*behaviours: Any) -> Any:
    """Behave differently at each request; the last behaviour stays."""
    left = list(behaviours)

    async def behave(upstream: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        behaviour = left.pop(0) if len(left) > 1 else left[0]
        answer: web.StreamResponse = await behaviour(upstream, request, body)
        return answer

    return behave


async def trickles(_: Upstream, request: web.Request, __: dict[str, Any]) -> web.StreamResponse:
    """A good answer, one byte at a time."""
    response = web.StreamResponse(headers={"content-type": "application/json"})
    await response.prepare(request)
    for byte in json.dumps(ANSWER).encode():
        await response.write(bytes([byte]))
        await asyncio.sleep(0.05)
    return response


class TestTime:
    async def test_a_backend_that_trickles_is_given_up(self, http: Http) -> None:
        async with behind(trickles, answers(), first_byte_timeout_s=0.4) as (url, _first, _second):
            status, headers, _ = await post(http, url)

        assert (status, headers["x-foresight-candidate"]) == (200, "large")

    async def test_all_attempts_share_one_deadline(self, http: Http) -> None:
        limits = {"request_timeout_s": 0.6, "first_byte_timeout_s": 0.4}
        async with behind(hangs(), hangs(), **limits) as (url, first, second):
            began = time.monotonic()
            status, _, body = await post(http, url)

            assert time.monotonic() - began < 3
            assert (status, error_of(body)["code"]) == (504, "backend_timeout")
            await until(lambda: first.cancelled == second.cancelled == 1)

    async def test_a_stream_that_never_ends_is_ended_at_the_deadline(self, http: Http) -> None:
        endless = streams(*[chunk("x")] * 200, pause_s=0.05)
        async with behind(endless, request_timeout_s=0.6) as (url, first):
            _, _, body = await post(http, url, stream=True)
            await until(lambda: first.cancelled == 1)

        last = body.split(b"\n\n")[-2]
        assert error_of(last.removeprefix(b"data: "))["code"] == "backend_timeout"

    async def test_hedging_asks_the_next_when_the_first_is_silent(self, http: Http) -> None:
        async with behind(hangs(), answers(), hedge_after_s=0.1) as (url, first, _second):
            status, headers, _ = await post(http, url)
            await until(lambda: first.cancelled == 1)

        assert (status, headers["x-foresight-candidate"]) == (200, "large")

    async def test_nobody_is_hedged_unless_it_is_asked_for(self, http: Http) -> None:
        slow = one_after_another(streams(*GOOD, pause_s=0.15))
        async with behind(slow, answers()) as (url, _first, second):
            await post(http, url, stream=True)

        assert not second.bodies


class TestBusyBackends:
    async def test_a_busy_backend_is_asked_once_more(self, http: Http) -> None:
        async with behind(one_after_another(answers(503), answers())) as (url, first):
            status, headers, _ = await post(http, url, model="small")

        assert (status, len(first.bodies)) == (200, 2)
        assert "small failed (overloaded)" in headers["x-foresight-reason"]

    async def test_retry_after_leaves_it_alone_and_others_answer(self, http: Http) -> None:
        busy = answers(429, retry_after="20")
        async with behind(busy, answers()) as (url, first, second):
            for _ in range(3):
                assert (await post(http, url))[0] == 200
            status, headers, body = await post(http, url, model="small")

        assert (len(first.bodies), len(second.bodies)) == (1, 3)
        assert (status, error_of(body)["code"]) == (503, "backend_open")
        assert 15 <= int(headers["retry-after"]) <= 20

    async def test_a_backend_that_keeps_failing_is_passed_over_and_asked_again_later(
        self, http: Http
    ) -> None:
        broken = [answers(500)] * 3
        limits = {"breaker_failures": 3, "breaker_rest_s": 0.4, "retries": 0}
        async with behind(one_after_another(*broken, answers()), answers(), **limits) as (url, first, _):
            for _ in range(6):
                assert (await post(http, url))[1]["x-foresight-candidate"] == "large"
            assert len(first.bodies) == 3
            await asyncio.sleep(0.45)

            assert (await post(http, url))[1]["x-foresight-candidate"] == "small"


class TestRoom:
    async def test_more_than_fits_is_turned_away_at_once(self, http: Http) -> None:
        async with behind(hangs(chunk("fo")), max_in_flight=2) as (url, first):
            held = [
                await http.post(f"{url}/chat/completions", json={**EASY, "stream": True}) for _ in range(2)
            ]
            status, headers, body = await post(http, url)
            for response in held:
                response.close()
            await until(lambda: first.cancelled == 2)
            first.behaviour = answers()
            await asyncio.sleep(0.1)
            again, _, _ = await post(http, url)

        assert (status, headers["retry-after"]) == (503, "1")
        assert error_of(body)["code"] == "overloaded"
        assert again == 200

    async def test_ten_megabytes(self, http: Http) -> None:
        content = "x" * (10 << 20)
        body = json.dumps({"model": "small", "messages": [{"role": "user", "content": content}]}).encode()
        async with (
            behind(answers(), max_body_bytes=16 << 20) as (url, first),
            http.post(f"{url}/chat/completions", data=io.BytesIO(body)) as response,
        ):
            status = response.status
        async with (
            behind(answers()) as (url, second),
            http.post(f"{url}/chat/completions", data=io.BytesIO(body)) as response,
        ):
            refused, told = response.status, await response.read()

        assert (status, first.bodies[0]["messages"][0]["content"]) == (200, content)
        assert (refused, error_of(told)["code"]) == (413, "request_too_large")
        assert not second.bodies

    async def test_a_client_that_sends_its_body_slowly_is_cut_off(self) -> None:
        async with behind(answers(), body_timeout_s=0.3) as (url, first):
            place = urlsplit(url)
            reader, writer = await asyncio.open_connection(place.hostname, place.port)
            writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n")
            for _ in range(3):
                writer.write(b"{")
                await asyncio.sleep(0.05)
            head = await asyncio.wait_for(reader.readline(), 5)
            writer.close()

        assert b" 408 " in head
        assert not first.bodies

    async def test_many_idle_connections_keep_nobody_waiting(self, http: Http) -> None:
        async with behind(answers()) as (url, _first):
            place = urlsplit(url)
            held = [await asyncio.open_connection(place.hostname, place.port) for _ in range(300)]
            status, _, _ = await post(http, url)
            for _, writer in held:
                writer.close()

        assert status == 200

    async def test_a_hundred_streams_at_once_lose_nothing(self, http: Http) -> None:
        async with behind(streams(*GOOD, pause_s=0.02)) as (url, _first):
            bodies = await asyncio.gather(*(post(http, url, stream=True) for _ in range(100)))

        assert {body for _, _, body in bodies} == {b"".join(GOOD)}
        assert GOOD[-1] == DONE
