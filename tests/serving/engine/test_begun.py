"""An answer that began before the decision is handed over if it is the one, and is given up if it is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from serving.backends.base import Call, Health, Reply, State
from serving.engine.early.begun import PARAMETERS, BeginningBackend
from serving.http.errors import BackendFailure

CALL = Call("chat/completions", {"model": "m", "messages": []}, True, "req-1")


class CountingReply:
    """A reply that knows whether it was given up."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.closed = False

    async def read(self, limit: int) -> bytes:
        return b"{}"

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b""

    async def aclose(self) -> None:
        self.closed = True


class SlowBackend:
    """Begins to answer when it is let; counts what it was asked and what was cancelled."""

    def __init__(self, status: int = 200) -> None:
        self.calls: list[Call] = []
        self.replies: list[CountingReply] = []
        self.cancelled = 0
        self.gate = asyncio.Event()
        self.closed = False
        self.status = status

    async def start(self) -> None: ...

    async def close(self) -> None:
        self.closed = True

    async def health(self) -> Health:
        return Health(State.UP)

    async def ask(self, call: Call) -> Reply:
        self.calls.append(call)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.replies.append(CountingReply(self.status))
        return self.replies[-1]


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_same_call_gets_the_answer_that_began() -> None:
    inner = SlowBackend()
    backend = BeginningBackend(inner)
    begun = backend.begin(["a"], CALL, "key")
    await settled()
    assert [call.body[PARAMETERS] for call in inner.calls] == [{"probe_id": "key"}]
    backend.keep(begun)
    inner.gate.set()
    reply = await backend.ask(replace(CALL, headers={"traceparent": "00-1"}))
    assert reply is inner.replies[0]
    assert len(inner.calls) == 1
    await backend.ask(CALL)  # once more, say as a retry: begun answers are used once
    assert len(inner.calls) == 2


@pytest.mark.parametrize(
    "other",
    [
        replace(CALL, body={**CALL.body, "temperature": 1}),
        replace(CALL, stream=False),
        replace(CALL, endpoint="completions"),
    ],
)
async def test_any_other_call_is_asked_anew(other: Call) -> None:
    inner = SlowBackend()
    inner.gate.set()
    backend = BeginningBackend(inner)
    begun = backend.begin(["a"], CALL, "key")
    await settled()
    backend.keep(begun)
    reply = await backend.ask(other)
    await settled()
    assert inner.calls[-1] == other
    assert reply is inner.replies[-1]
    assert inner.replies[0] is not reply
    assert inner.replies[0].closed


async def test_what_is_given_up_stops_at_once() -> None:
    inner = SlowBackend()
    backend = BeginningBackend(inner)
    backend.give_up(backend.begin(["a"], CALL, "early"))  # not even asked yet
    waiting = backend.begin(["a"], CALL, "waiting")
    await settled()
    backend.give_up(waiting)
    await settled()
    assert inner.cancelled == len(inner.calls) == 1
    inner.gate.set()
    begun = backend.begin(["a"], CALL, "late")
    await settled()
    backend.give_up(begun)
    await settled()
    assert inner.replies[0].closed


async def test_nobody_asks_and_it_is_given_up_after_a_while() -> None:
    inner = SlowBackend()
    inner.gate.set()
    backend = BeginningBackend(inner, claim_s=0.02)
    backend.keep(backend.begin(["a"], CALL, "key"))
    await asyncio.sleep(0.1)
    assert inner.replies[0].closed
    assert await backend.ask(CALL) is inner.replies[1]


async def test_leaving_while_it_is_handed_over_stops_it() -> None:
    inner = SlowBackend()
    backend = BeginningBackend(inner)
    backend.keep(backend.begin(["a"], CALL, "key"))
    asking = asyncio.create_task(backend.ask(CALL))
    await settled()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await settled()
    assert inner.cancelled == 1


async def test_closing_gives_up_what_is_kept() -> None:
    inner = SlowBackend()
    inner.gate.set()
    backend = BeginningBackend(inner)
    backend.keep(backend.begin(["a"], CALL, "key"))
    await settled()
    await backend.close()
    assert inner.replies[0].closed
    assert inner.closed


async def test_a_prompt_that_the_engine_refuses_is_a_failure() -> None:
    inner = SlowBackend(status=400)
    inner.gate.set()
    with pytest.raises(BackendFailure, match="status 400") as caught:
        await BeginningBackend(inner).ask_once(CALL, {"probe_id": "key"})
    assert caught.value.kind == "refused"
    assert inner.replies[0].closed


async def test_the_url_of_the_backend_stays_visible() -> None:
    inner: Any = SlowBackend()
    assert BeginningBackend(inner).url is None
    inner.url = "http://127.0.0.1:1"
    assert BeginningBackend(inner).url == inner.url
