"""A cascade over upstreams that say how sure they are: who answers, what is paid, what the client sees."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.http.sse import DONE, payloads
from serving.ledger.database import open_ledger
from serving.ledger.store import Store
from serving.policies.confidence import confidence_of
from serving.run import running_gateway
from serving.settings import GatewaySettings, LedgerSettings
from tests.serving.routing import pool_of, router_of
from tests.serving.upstream import ANSWER, Behaviour, Upstream, answers, cuts, streams, upstream

EASY = {"model": "auto", "messages": [{"role": "user", "content": "easy"}], "foresight": {"explain": True}}
FAST = {"first_byte_timeout_s": 2, "idle_timeout_s": 2, "retries": 0}
ONE_CALL_USD = {"small": (7 * 1 + 2 * 2) / 1e6, "large": (7 * 10 + 2 * 20) / 1e6}
"""Of the upstream's 7 tokens in and 2 out, at the prices of `tests.serving.routing`."""

Http = aiohttp.ClientSession


def sure(probability: float, text: str = "four") -> dict[str, Any]:
    """An answer of two tokens, each of this probability."""
    content = [{"token": part, "logprob": math.log(probability)} for part in (text[:2], text[2:])]
    choice = {**ANSWER["choices"][0], "message": {"role": "assistant", "content": text}}  # type: ignore[index]
    return {**ANSWER, "choices": [{**choice, "logprobs": {"content": content}}]}


def sure_stream(probability: float, text: str = "four") -> tuple[bytes, ...]:
    """The same as a stream that ends with its usage."""
    shared = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}

    def told(payload: dict[str, Any]) -> bytes:
        return b"data: " + json.dumps({**shared, "usage": None, **payload}).encode() + b"\n\n"

    def part(content: str) -> dict[str, Any]:
        logs = {"content": [{"token": content, "logprob": math.log(probability)}]}
        return {"index": 0, "delta": {"content": content}, "logprobs": logs, "finish_reason": None}

    end = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    return (
        *(told({"choices": [part(text[i : i + 2])]}) for i in (0, 2)),
        told({"choices": [end]}),
        told({"choices": [], "usage": ANSWER["usage"]}),
        DONE,
    )


@asynccontextmanager
async def cascading(folder: Path, *behaviours: Behaviour) -> AsyncIterator[tuple[str, Upstream, Upstream]]:
    """A gateway that asks small, then large unless small is 80% sure; a ledger lies in the folder."""
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(upstream(behaviour)) for behaviour in behaviours]
        backends = {f"at-{i}": {"kind": "openai", "url": server.url} for i, server in enumerate(servers)}
        candidates = {name: {"backend": f"at-{i}"} for i, name in enumerate(("small", "large"))}
        policy = {"rule": "cascade", "ladder": ["small", "large"], "accept": 0.8}
        pool = pool_of(backends, candidates, policy=policy)
        ledger = LedgerSettings(url="ledger.db", flush_s=0.01)
        settings = GatewaySettings(port=0, drain_s=1, folder=folder, ledger=ledger, **FAST)
        url = await stack.enter_async_context(running_gateway(pool, router_of(pool), settings=settings))
        yield (url, *servers)  # type: ignore[misc]


def paid_usd(folder: Path) -> float:
    """What the ledger says that cascades have cost."""
    database = open_ledger(str(folder / "ledger.db"))
    try:
        return Store(database).spent_by("cascade", 0.0)[0]
    finally:
        database.close()


async def ask(http: Http, url: str, **fields: Any) -> tuple[int, Any, bytes]:
    async with http.post(f"{url}/chat/completions", json={**EASY, **fields}) as response:
        return response.status, response.headers, await response.read()


async def test_a_sure_answer_is_kept(http: Http, tmp_path: Path) -> None:
    async with cascading(tmp_path, answers(body=sure(0.9)), answers(body=sure(1.0))) as (url, small, large):
        status, headers, body = await ask(http, url)

    answer = json.loads(body)
    assert (status, headers["x-foresight-candidate"]) == (200, "small")
    assert small.bodies[0]["logprobs"] is True
    assert not large.bodies
    assert "logprobs" not in answer["choices"][0]
    assert answer["foresight"]["tried"][0]["confidence"] == pytest.approx(0.9)
    assert "confidence 0.90 reaches 0.80" in headers["x-foresight-reason"]
    assert paid_usd(tmp_path) == pytest.approx(ONE_CALL_USD["small"])


async def test_an_unsure_answer_is_paid_and_the_next_one_is_asked(http: Http, tmp_path: Path) -> None:
    async with cascading(tmp_path, answers(body=sure(0.5)), answers(body=sure(1.0, "five"))) as (
        url,
        _,
        large,
    ):
        _, headers, body = await ask(http, url)

    told = json.loads(body)
    assert headers["x-foresight-candidate"] == "large"
    assert told["choices"][0]["message"]["content"] == "five"
    assert "logprobs" not in large.bodies[0]
    [tried] = told["foresight"]["tried"]
    assert (tried["candidate"], tried["kept"]) == ("small", False)
    assert tried["cost_usd"] == pytest.approx(ONE_CALL_USD["small"])
    assert "confidence 0.50 is below 0.80" in headers["x-foresight-reason"]
    assert paid_usd(tmp_path) == pytest.approx(sum(ONE_CALL_USD.values()))


@pytest.mark.parametrize(("probability", "who"), [(0.9, "small"), (0.5, "large")])
@pytest.mark.parametrize("usage", [False, True])
async def test_a_stream_shows_one_answer_only(
    http: Http, tmp_path: Path, probability: float, who: str, usage: bool
) -> None:
    second = sure_stream(1.0, "five")
    if not usage:
        second = (*second[:3], DONE)  # as a server does that is not asked for it
    options = {"stream_options": {"include_usage": True}} if usage else {}
    async with cascading(tmp_path, streams(*sure_stream(probability)), streams(*second)) as (url, small, _):
        _, headers, body = await ask(http, url, stream=True, **options)

    events = list(payloads(body))
    text = "".join(c["delta"].get("content", "") for e in events for c in e["choices"])
    assert (headers["x-foresight-candidate"], text) == (who, "four" if who == "small" else "five")
    assert small.bodies[0]["stream_options"] == {"include_usage": True}
    assert any(event.get("usage") for event in events) is usage
    assert body.endswith(DONE)
    assert events[-1]["foresight"]["tried"][0]["kept"] is (who == "small")
    if who == "small":
        assert not any("logprobs" in choice for event in events for choice in event["choices"])
        assert paid_usd(tmp_path) == pytest.approx(ONE_CALL_USD["small"])


async def test_a_client_that_asks_for_log_probabilities_gets_them(http: Http, tmp_path: Path) -> None:
    async with cascading(tmp_path, answers(body=sure(0.9)), answers()) as (url, small, _):
        _, _, body = await ask(http, url, logprobs=True, top_logprobs=2)

    assert json.loads(body)["choices"][0]["logprobs"]["content"]
    assert small.bodies[0]["top_logprobs"] == 2


FAULTS = [
    pytest.param(answers(), id="no-log-probabilities"),
    pytest.param(answers(400, {"error": {"message": "logprobs is not supported"}}), id="refuses-them"),
    pytest.param(answers(500), id="500"),
]


@pytest.mark.parametrize("fault", FAULTS)
async def test_who_does_not_say_how_sure_it_is_is_not_trusted(
    http: Http, tmp_path: Path, fault: Behaviour
) -> None:
    async with cascading(tmp_path, fault, answers(body=sure(1.0))) as (url, _, large):
        status, headers, _ = await ask(http, url)

    assert (status, headers["x-foresight-candidate"]) == (200, "large")
    assert len(large.bodies) == 1


async def test_a_stream_that_breaks_before_its_end_was_never_shown(http: Http, tmp_path: Path) -> None:
    broken = cuts(sure_stream(0.99)[0])
    async with cascading(tmp_path, broken, streams(*sure_stream(1.0, "five"))) as (url, _, _):
        status, headers, body = await ask(http, url, stream=True)

    text = "".join(c["delta"].get("content", "") for e in payloads(body) for c in e["choices"])
    assert (status, text, headers["x-foresight-candidate"]) == (200, "five", "large")


async def test_the_last_one_is_asked_what_the_client_asked(http: Http, tmp_path: Path) -> None:
    wrong = answers(400, {"error": {"message": "temperature is out of range", "param": "temperature"}})
    async with cascading(tmp_path, wrong, wrong) as (url, _, large):
        status, _, body = await ask(http, url, temperature=9)

    assert (status, json.loads(body)["error"]["param"]) == (400, "temperature")
    assert "logprobs" not in large.bodies[0]


@given(st.lists(st.floats(-20, 0), min_size=1, max_size=20))
def test_confidence_is_the_geometric_mean_in_both_forms(logs: list[float]) -> None:
    expected = math.prod(math.exp(log) for log in logs) ** (1 / len(logs))
    chat = {"choices": [{"index": 0, "logprobs": {"content": [{"logprob": log} for log in logs]}}]}
    plain = {"choices": [{"index": 0, "logprobs": {"token_logprobs": [None, *logs]}}]}
    for payload in (chat, plain):
        assert confidence_of([payload]) == pytest.approx(expected, rel=1e-6)


def test_of_several_answers_the_least_sure_one_counts() -> None:
    choices = [
        {"index": i, "logprobs": {"content": [{"logprob": math.log(p)}]}} for i, p in enumerate((0.9, 0.3))
    ]
    assert confidence_of([{"choices": choices}]) == pytest.approx(0.3)
    assert confidence_of([{"choices": [*choices, {"index": 2, "logprobs": None}]}]) is None
    assert confidence_of([{"choices": "nonsense"}]) is None
