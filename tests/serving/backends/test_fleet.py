"""The backends of a pool: started together, and stopped whatever they are doing."""

from __future__ import annotations

import asyncio
import socket
import time
from datetime import UTC, datetime

import aiohttp
import pytest

from probes.errors import BackendError
from serving.backends.base import Call, Health, Reply, State
from serving.backends.openai import OpenAIBackend, parse_retry_after
from serving.fleet import Fleet
from serving.http.errors import BackendFailure
from tests.serving.upstream import answers, upstream


class FakeBackend:
    """Starts when it is let, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.may_start = asyncio.Event()
        self.closed = 0

    async def start(self) -> None:
        await self.may_start.wait()
        if self.error:
            raise self.error

    async def close(self) -> None:
        self.closed += 1

    async def health(self) -> Health:
        return Health(State.UP)

    async def ask(self, call: Call) -> Reply:
        raise BackendFailure("refused", "a fake answers nothing")


async def states(fleet: Fleet) -> dict[str, str]:
    return {name: health.state.value for name, health in (await fleet.health()).items()}


async def test_each_backend_is_up_when_it_has_started() -> None:
    first, second = FakeBackend(), FakeBackend()
    fleet = Fleet({"first": first, "second": second})
    assert await states(fleet) == {"first": "down", "second": "down"}

    await fleet.start()
    first.may_start.set()
    await asyncio.sleep(0.01)
    assert await states(fleet) == {"first": "up", "second": "starting"}

    second.may_start.set()
    await fleet.ready()
    assert await states(fleet) == {"first": "up", "second": "up"}
    await fleet.close()
    assert (first.closed, second.closed) == (1, 1)


async def test_a_failure_to_start_is_told_at_once_and_in_ready() -> None:
    bad, slow = FakeBackend(BackendError("no such model\nlog: ...")), FakeBackend()
    fleet = Fleet({"bad": bad, "slow": slow})
    await fleet.start()
    bad.may_start.set()

    with pytest.raises(BackendError, match="no such model"):
        await fleet.ready()

    assert (await fleet.health())["bad"] == Health(State.DOWN, "no such model")
    await fleet.close()
    assert (bad.closed, slow.closed) == (1, 1)


async def test_an_unforeseen_failure_is_a_backend_error() -> None:
    backend = FakeBackend(ZeroDivisionError("x"))
    backend.may_start.set()
    fleet = Fleet({"odd": backend})
    await fleet.start()

    with pytest.raises(BackendError, match="odd cannot start"):
        await fleet.ready()
    await fleet.close()


async def test_closing_does_not_wait_for_those_that_still_start() -> None:
    backend = FakeBackend()
    fleet = Fleet({"slow": backend})
    await fleet.start()

    async with asyncio.timeout(1):
        await fleet.close()

    assert backend.closed == 1


class TestOpenAIBackend:
    async def test_health_is_down_where_nobody_listens(self, dead_port: int) -> None:
        backend = OpenAIBackend("dead", f"http://127.0.0.1:{dead_port}/v1")
        await backend.start()
        health = await backend.health()
        await backend.close()

        assert health.state is State.DOWN
        assert str(dead_port) not in health.detail

    async def test_a_host_that_nobody_knows_is_told_in_words(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def unknown(*_: object, **__: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
        backend = OpenAIBackend("far", "http://vllm-small:8000/v1")
        await backend.start()
        health = await backend.health()
        with pytest.raises(BackendFailure) as caught:
            await backend.ask(Call("completions", {}, False, "r"))
        await backend.close()

        assert health.detail == "the name of its host is not known here"
        assert caught.value.kind == "connect"
        assert health.detail in str(caught.value)

    @pytest.mark.parametrize(("timeout_s", "tries"), [(60.0, 1), (0.01, 2)])
    async def test_a_connection_is_opened_again_if_only_this_event_loop_was_late(
        self, timeout_s: float, tries: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Session:
            asked = 0

            async def post(self, *_: object, **__: object) -> None:
                self.asked += 1
                if self.asked == 2:
                    raise aiohttp.ClientConnectionResetError
                time.sleep(0.1)  # noqa: ASYNC251 (somebody else's turn takes too long)
                raise aiohttp.ConnectionTimeoutError

        backend, session = (
            OpenAIBackend("up", "http://127.0.0.1:1/v1", connect_timeout_s=timeout_s),
            Session(),
        )
        monkeypatch.setattr(backend, "_open_session", lambda: session)
        with pytest.raises(BackendFailure) as caught:
            await backend.ask(Call("completions", {}, False, "r"))
        assert (session.asked, caught.value.kind) == (tries, "connect" if tries == 1 else "cut")

    async def test_a_cookie_of_one_answer_is_not_sent_with_the_next_clients_request(self) -> None:
        async with upstream(answers(body={}, set_cookie="session=one")) as server:
            backend = OpenAIBackend("up", server.url.replace("127.0.0.1", "localhost"))
            await backend.start()
            for _ in range(2):
                reply = await backend.ask(Call("completions", {}, False, "r"))
                await reply.read(1000)
            await backend.close()

        assert len(server.headers) == 2
        assert all("cookie" not in headers for headers in server.headers)

    async def test_it_cannot_be_asked_before_it_is_started(self) -> None:
        backend = OpenAIBackend("late", "http://127.0.0.1:1/v1")

        with pytest.raises(BackendFailure, match="not started"):
            await backend.ask(Call("completions", {}, False, "r"))

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            (None, None),
            ("7", 7.0),
            (" 7 ", 7.0),
            ("99999999", 3600.0),
            ("soon", None),
            ("inf", None),
            ("-5", None),
            ("Sat, 21 Nov 2026 00:00:30 GMT", 30.0),
            ("Sat, 21 Nov 2026 00:00:30 -0000", 30.0),
            ("Fri, 20 Nov 2026 00:00:00 GMT", 0.0),
        ],
    )
    def test_retry_after_is_a_number_or_a_date(self, value: str | None, seconds: float | None) -> None:
        assert parse_retry_after(value, datetime(2026, 11, 21, tzinfo=UTC)) == seconds
