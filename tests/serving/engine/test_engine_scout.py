"""The scout in an engine, from a request to its answer: everything is real but the model server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.encoders.transformers import TransformersEncoder
from probes.errors import BackendError
from probes.scoring.scorer import Scorer
from router.router import Router
from serving.backends.base import Backend, Call
from serving.engine.early.begun import PARAMETERS
from serving.engine.early.wager import MEMORY, Wager
from serving.engine.posts import engine_scout
from serving.engine.scout import EngineScout
from serving.flow.decider import Decider
from serving.flow.gateway import Gateway
from serving.metrics import Metrics
from serving.run import listening
from serving.settings import GatewaySettings
from tests.serving.engine.fake_engine import FakeEngine
from tests.serving.engine.worlds import CANDIDATES, fitted, pool_of, prompts


@pytest.fixture(scope="module")
def world(tiny_llama: Path) -> tuple[Router, TransformersEncoder]:
    return fitted(pool_of(tiny_llama))


class Served:
    """A gateway in front of a fake engine, and a client."""

    def __init__(self, url: str, engine: FakeEngine, scout: EngineScout, http: aiohttp.ClientSession) -> None:
        self.url, self.engine, self.scout, self.http = url, engine, scout, http

    async def ask(self, text: str, path: str = "chat/completions", **fields: Any) -> dict[str, Any]:
        body = {"model": "auto", "messages": [{"role": "user", "content": text}], **fields}
        if path == "chat/completions":
            body["foresight"] = {"explain": True}
        async with self.http.post(f"{self.url}/{path}", json=body) as response:
            answer: dict[str, Any] = await response.json()
            assert response.status == 200, answer
            return answer


Serving = Callable[..., Any]


@pytest.fixture
def serving(world: tuple[Router, TransformersEncoder]) -> Serving:
    router, encoder = world

    @asynccontextmanager
    async def serve(**settings: Any) -> AsyncIterator[Served]:
        engines: list[FakeEngine] = []

        def make(pool: Any) -> dict[str, Backend]:
            told = pool.backends["own"]
            engines.append(FakeEngine(Path(told.env["PYTHONPATH"]).parent, encoder))
            assert "--kv-transfer-config" in told.args
            return {"own": engines[0]}

        chosen = GatewaySettings(port=0, drain_s=1, **{"scout_timeout_s": 5.0, **settings})
        scout, backends = engine_scout(router.pool, router, make)
        decider = Decider(router, scout, timeout_s=chosen.scout_timeout_s, metrics=Metrics())
        gateway = Gateway(router.pool, decider, backends, settings=chosen)
        async with aiohttp.ClientSession() as http, listening(gateway) as (_, url):
            await asyncio.wait_for(gateway.ready(), 10)
            engines[0].calls.clear()
            yield Served(url, engines[0], scout, http)
        assert not scout.post.room.folder.exists()

    return serve


async def test_a_chosen_candidates_request_is_sent_once(serving: Serving) -> None:
    async with serving() as served:
        answer = await served.ask("what is seven", model="auto:direct", temperature=0.5)
        [call] = served.engine.calls
        assert answer["foresight"]["served_by"] == "direct"
        assert (call.body["temperature"], call.body["max_tokens"]) == (0.5, 8)
        assert not served.engine.replies[0].closed or answer["usage"]


async def test_a_stream_goes_on_from_where_it_began(serving: Serving) -> None:
    async with serving() as served:
        body = {"model": "auto:direct", "messages": [{"role": "user", "content": "what"}], "stream": True}
        async with served.http.post(f"{served.url}/chat/completions", json=body) as response:
            text = await response.text()
        assert '"content": "x"' in text
        assert text.endswith("data: [DONE]\n\n")
        assert [call.stream for call in served.engine.calls] == [True]


async def test_another_candidate_is_asked_and_what_began_is_given_up(serving: Serving) -> None:
    async with serving() as served:
        answer = await served.ask("what is seven", model="auto:think")
        begun, asked = served.engine.calls
        assert answer["foresight"]["served_by"] == "think"
        assert PARAMETERS in begun.body
        assert PARAMETERS not in asked.body
        assert asked.body["chat_template_kwargs"] == {"enable_thinking": True}
        await asyncio.sleep(0.05)
        assert served.engine.replies[0].closed or served.engine.cancelled


async def test_what_is_hardly_ever_wanted_is_not_begun_until_it_is_again(serving: Serving) -> None:
    def early(calls: list[Call]) -> list[bool]:
        return ["scout-" not in call.request_id for call in calls if PARAMETERS in call.body]

    async with serving() as served:
        for number in range(3 * MEMORY):
            await served.ask(f"what is {number}", model="auto:think")
        begun = early(served.engine.calls)
        assert begun[:MEMORY] == [True] * MEMORY
        assert begun[-5:] == [False] * 5
        served.engine.calls.clear()
        await served.ask("what is seven", model="auto:direct")
        assert early(served.engine.calls) == [True], "another policy wants it"


async def test_an_answer_that_was_not_begun_is_asked_for(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving() as served:
        monkeypatch.setattr(Wager, "worth", lambda self, policy: False)
        answer = await served.ask("what is seven", model="auto:direct")
        scouting, asked = served.engine.calls
        assert (scouting.request_id[:6], scouting.body["max_tokens"]) == ("scout-", 1)
        assert answer["foresight"]["served_by"] == "direct"
        assert PARAMETERS not in asked.body


@given(st.lists(st.booleans(), max_size=200))
def test_a_wager_follows_what_was_wanted_of_late(seen: list[bool]) -> None:
    wager = Wager()
    for wanted in seen:
        wager.learn("a", wanted)
    assert wager.worth("b"), "nothing is known of another policy"
    if not any(seen[-3 * MEMORY :]) and len(seen) >= 3 * MEMORY:
        assert not wager.worth("a")
    if seen[-3:] == [True] * 3:
        assert wager.worth("a")


async def test_candidates_that_would_be_sent_the_same_share_what_began(serving: Serving) -> None:
    """`direct` and `long` differ by their limit alone, which this request sets itself."""
    async with serving() as served:
        answer = await served.ask("what is seven", model="auto:long", max_tokens=5)
        assert answer["foresight"]["served_by"] == "long"
        assert len(served.engine.calls) == 1
        await served.ask("what is seven", model="auto:long")
        assert len(served.engine.calls) == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"chat_template_kwargs": {"enable_thinking": True}},
        {"add_generation_prompt": True},
        {"kv_transfer_params": {"probe_id": "forged"}},
    ],
)
async def test_a_prompt_of_its_own_is_not_continued(fields: dict[str, Any], serving: Serving) -> None:
    async with serving() as served:
        answer = await served.ask("what is seven", model="auto:direct", **fields)
        scouting, asked = served.engine.calls
        assert (scouting.body["max_tokens"], scouting.request_id[:6]) == (1, "scout-")
        assert fields.items() <= asked.body.items()
        assert answer["foresight"]["success"]


async def test_deciding_alone_begins_no_answer(serving: Serving, world: tuple[Router, Any]) -> None:
    async with serving() as served:
        for text in prompts(5, seed=3):
            decision = await served.ask(text, "route")
            expected = world[0].decide(text)
            assert decision["candidate"] == expected.candidate
            assert decision["success"] == pytest.approx(expected.success, abs=1e-5)
        assert served.engine.to_clients == []


async def test_a_mistaken_request_leaves_nothing_behind(serving: Serving) -> None:
    async with serving() as served:
        body = {"model": "auto", "messages": [{"role": "user", "content": "what"}]}
        body["foresight"] = {"exclude": ["nobody"]}
        async with served.http.post(f"{served.url}/chat/completions", json=body) as response:
            assert response.status == 400
        assert served.scout._channel._expected == {}


async def test_weights_that_change_during_the_check_are_checked_again(
    serving: Serving, world: tuple[Router, TransformersEncoder]
) -> None:
    router, _ = world
    async with serving() as served:
        old = router.scorer
        probes = replace(old.probes, level=old.probes.level + 1)
        new = Scorer(probes, old.calibrator, old.length, old.novelty)
        await served.engine.close()
        async with asyncio.timeout(20):
            while served.scout.status()["state"] == "ready":
                await asyncio.sleep(0.02)
        served.engine.calls.clear()
        ask_once = served.scout.post.backend.ask_once

        async def slowly(call: Any, probe: dict[str, Any]) -> None:
            served.scout.use(Router(router.pool, new, router.fitted, router.identity))
            await ask_once(call, probe)

        served.scout.post.backend.ask_once = slowly  # type: ignore[method-assign]
        await served.engine.start()
        async with asyncio.timeout(20):
            while served.scout.status()["state"] != "ready":
                await asyncio.sleep(0.02)
        assert len(served.engine.calls) == 2
        served.scout.use(router)


async def test_a_named_candidate_is_not_scouted(serving: Serving) -> None:
    async with serving() as served:
        await served.ask("what", model="direct")
        assert [PARAMETERS in call.body for call in served.engine.calls] == [False]


async def test_silence_and_refusals_fail_open(serving: Serving) -> None:
    async with serving(scout_timeout_s=0.2) as served:
        served.engine.silent = True
        late = await served.ask("what is seven")
        assert "did not answer within 0.2 s" in late["foresight"]["reason"]
        served.engine.silent = False
        served.engine.held.clear()
        asyncio.get_running_loop().call_later(0.5, served.engine.held.set)
        good = await served.ask("what is seven")  # scores come before any answer
        assert "did not" not in good["foresight"]["reason"]
        served.engine.status = 400
        decision = await served.ask("what is seven", "route")
        assert "refused the prompt (status 400)" in decision["reason"]


async def test_an_engine_that_goes_and_comes_back_is_checked_again(serving: Serving) -> None:
    async with serving() as served:
        await served.engine.close()
        decision = await served.ask("what is seven", "route")
        assert "the scout failed" in decision["reason"]
        served.engine.calls.clear()
        await served.engine.start()
        async with asyncio.timeout(10):
            while served.scout.status()["state"] != "ready":
                await asyncio.sleep(0.02)
        [check] = served.engine.calls
        assert check.body[PARAMETERS]["features"] is True
        decision = await served.ask("what is seven", "route")
        assert "the scout failed" not in decision["reason"]


async def test_an_engine_that_never_reads_is_given_up(
    world: tuple[Router, TransformersEncoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.engine.scout.POLL_S", 0.01)
    monkeypatch.setattr("serving.engine.scout.GRACE_S", 0.01)
    router, encoder = world
    engines: list[FakeEngine] = []

    def make(pool: Any) -> dict[str, Backend]:
        engines.append(FakeEngine(Path(pool.backends["own"].env["PYTHONPATH"]).parent, encoder))
        return {"own": engines[0]}

    scout, _ = engine_scout(router.pool, router, make)
    engines[0].silent = True
    await engines[0].start()
    await scout.start()
    with pytest.raises(BackendError, match="without scores"):
        await asyncio.wait_for(scout.ready(), 10)
    assert scout.status()["state"] == "lost"
    with pytest.raises(BackendError, match="lost"):
        await scout.read([{"role": "user", "content": "what"}])
    await scout.close()
    await engines[0].close()


async def test_nothing_is_left_behind_by_many_requests(serving: Serving) -> None:
    async with serving() as served:
        models = [f"auto:{name}" for name in CANDIDATES]
        texts = prompts(30, seed=4)
        await asyncio.gather(
            *(served.ask(text, model=models[i % 3]) for i, text in enumerate(texts)),
        )
        await asyncio.sleep(0.05)
        backend = served.scout.post.backend
        assert (backend._kept, len(backend._chores), served.scout._channel._expected) == ({}, 0, {})
