"""The scout inside a real vLLM server: right numbers, right decisions, and every prompt computed once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from probes.encoders.transformers import TransformersEncoder
from probes.errors import ArtefactError, BackendError
from probes.scoring.reference import Reference
from probes.scoring.scorer import Scorer
from router.configuration.settings import OpenAIBackend
from router.decisions.decision import Decision
from router.router import Router
from serving.assemble import local_scout
from serving.engine.channel import Channel, Message
from serving.engine.post import Post
from serving.engine.reference import relative_error
from serving.engine.scout import EngineScout
from serving.flow.fallback import FallbackScout
from serving.run import running_gateway
from serving.settings import GatewaySettings
from serving.vllm.flags import core_of
from tests.serving.engine.worlds import MODEL, fitted, pool_of, prompts

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(500)]

LADDER = Path(__file__).parents[3] / "eval" / "ladder" / "models" / "ladder-m"
CHUNKED = ["--max-num-batched-tokens", "64", "--num-gpu-blocks-override", "24"]
"""Prompts take several steps, and few of them fit at once: there will be preemptions."""


@dataclass(frozen=True)
class Served:
    """Two gateways over one router, a third whose scout reads states, and what stands behind the first."""

    inside: str
    dedicated: str
    states: str
    states_router: Router
    router: Router
    encoder: TransformersEncoder
    post: Post
    scout: EngineScout

    @property
    def vllm(self) -> str:
        url = self.post.backend.url
        assert url is not None
        return url


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory, vllm_environment: object) -> AsyncIterator[Served]:
    seen: list[EngineScout] = []
    with pytest.MonkeyPatch.context() as patch:
        start = EngineScout.start

        async def noticed(scout: EngineScout) -> None:
            seen.append(scout)
            await start(scout)

        patch.setattr(EngineScout, "start", noticed)
        pool = pool_of(LADDER, args=CHUNKED, cores=core_of(1))
        router, encoder = fitted(pool, layers=(1, 2))
        elsewhere = without_servers(router)
        states = without_servers(fitted(pool_of(LADDER, "residual", cores=core_of(1)), layers=(1, 2))[0])
        logs = tmp_path_factory.mktemp("logs")
        async with AsyncExitStack() as stack:

            async def serve(router: Router, mode: Any, name: str) -> str:
                settings = GatewaySettings(port=0, scout_mode=mode, scout_timeout_s=60, ledger=None)
                return await stack.enter_async_context(
                    running_gateway(router.pool, router, settings=settings, log_folder=logs / name)
                )

            urls = await asyncio.gather(
                serve(router, "engine", "engine"),
                serve(elsewhere, "dedicated", "dedicated"),
                serve(states, "dedicated", "states"),
            )
            scout = next(scout for scout in seen if scout.post.mode == "engine")
            yield Served(*urls, states, router, encoder, scout.post, scout)


def without_servers(router: Router) -> Router:
    """The router for a pool whose candidates are elsewhere, so that only its scout needs a server."""
    backend = OpenAIBackend(kind="openai", url="http://127.0.0.1:1/v1")
    pool = router.pool.model_copy(update={"backends": {"own": backend}})
    return Router(pool, router.scorer, router.fitted, router.identity, record=router.record)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(120)) as session:
        yield session


def talk(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


async def counters(http: aiohttp.ClientSession, served: Served) -> dict[str, float]:
    """vLLM's counters, without labels."""
    async with http.get(f"{served.vllm}/metrics") as response:
        lines = (await response.text()).splitlines()
    found: dict[str, float] = {}
    for line in lines:
        if line.startswith("vllm:"):
            name, _, value = line.rpartition(" ")
            name = name.partition("{")[0].removeprefix("vllm:")
            found[name] = found.get(name, 0.0) + float(value)
    return found


async def grown(http: aiohttp.ClientSession, served: Served, before: dict[str, float]) -> dict[str, float]:
    """What the counters gained, once nothing runs any more."""
    for _ in range(100):
        after = await counters(http, served)
        if after["num_requests_running"] == after["num_requests_waiting"] == 0:
            return {name: after[name] - before.get(name, 0.0) for name in after}
        await asyncio.sleep(0.05)
    raise AssertionError("vLLM is still busy")


async def ask(http: aiohttp.ClientSession, url: str, text: str, **fields: Any) -> dict[str, Any]:
    body = {"model": "auto", "messages": talk(text), "foresight": {"explain": True}, **fields}
    async with http.post(f"{url}/chat/completions", json=body) as response:
        answer: dict[str, Any] = await response.json()
        assert response.status == 200, answer
        return answer


async def route(http: aiohttp.ClientSession, url: str, text: str) -> dict[str, Any]:
    async with http.post(f"{url}/route", json={"messages": talk(text)}) as response:
        decision: dict[str, Any] = await response.json()
        assert response.status == 200, decision
        return decision


def assert_same(found: dict[str, Any], expected: Decision) -> None:
    for name in ("candidate", "reason", "ranking", "input_tokens", "novel"):
        wanted = getattr(expected, name)
        assert found[name] == (list(wanted) if isinstance(wanted, tuple) else wanted), name
    assert found["success"] == pytest.approx(expected.success, abs=1e-4)
    assert found["novelty"] == pytest.approx(expected.novelty, rel=1e-3)


async def read_in_engine(
    http: aiohttp.ClientSession, served: Served, channel: Channel, text: str, **fields: Any
) -> Message:
    key, scored = channel.expect()
    body = {"model": MODEL, "messages": talk(text), "temperature": 0, "max_tokens": 1, **fields}
    body["kv_transfer_params"] = {"probe_id": key, "features": True}
    async with http.post(f"{served.vllm}/v1/chat/completions", json=body) as response:
        assert response.status == 200, await response.text()
        await response.read()
    return await asyncio.wait_for(scored, 30)


async def test_the_engine_reads_what_transformers_reads(served: Served, http: aiohttp.ClientSession) -> None:
    """Chunked prompts, prefix hits, whole prompts from the cache, batches, and preemptions in between."""
    texts = [*prompts(12, seed=5), *prompts(6, seed=6, longest=80)]
    texts += [texts[-1], texts[-1] + " fox", texts[0]]
    before = await counters(http, served)
    channel = Channel(served.post.room.socket)
    await channel.connect()
    try:
        alone = [await read_in_engine(http, served, channel, text) for text in texts[-5:]]
        together = await asyncio.gather(
            *(read_in_engine(http, served, channel, text, max_tokens=60, ignore_eos=True) for text in texts)
        )
    finally:
        await channel.close()
    wanted = served.encoder.encode([talk(text) for text in texts])
    for row, message in [*enumerate(together), *enumerate(alone, len(texts) - 5)]:
        expected = wanted.take([row])
        assert message.n_tokens == int(expected.n_tokens[0])
        assert relative_error(message.features, expected.features()[0]) < 1e-3
        projection = served.router.scorer.project(expected.features())
        np.testing.assert_allclose(message.scores[:-1], projection.values[0], rtol=1e-3, atol=2e-3)
        np.testing.assert_allclose(message.scores[-1:], projection.energy, rtol=1e-3)
    gained = await grown(http, served, before)
    assert max(wanted.n_tokens) > 64  # chunks
    assert gained["prefix_cache_hits_total"] > 0
    assert gained["num_preemptions_total"] > 0


async def test_all_modes_decide_the_same(served: Served, http: aiohttp.ClientSession) -> None:
    texts = prompts(24, seed=7)
    inside, dedicated = [
        await asyncio.gather(*(route(http, url, text) for text in texts))
        for url in (served.inside, served.dedicated)
    ]
    local = served.router.decide_many([talk(text) for text in texts])
    for expected, *found in zip(local, inside, dedicated, strict=True):
        for decision in found:
            assert_same(decision, expected)
    assert len({decision.candidate for decision in local}) > 1


async def test_states_of_the_first_blocks_decide_like_the_whole_models(
    served: Served, http: aiohttp.ClientSession
) -> None:
    """extract_hidden_states, in a server that has only the blocks that are read."""
    texts = prompts(12, seed=12)
    found = await asyncio.gather(*(route(http, served.states, text) for text in texts))
    for decision, expected in zip(
        found, served.states_router.decide_many([talk(text) for text in texts]), strict=True
    ):
        assert_same(decision, expected)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chosen_scout_computes_the_prompt_once(
    stream: bool, served: Served, http: aiohttp.ClientSession
) -> None:
    text = f"{stream} " + prompts(1, seed=8)[0]
    before = await counters(http, served)
    if stream:
        body = {"model": "auto:direct", "messages": talk(text), "stream": True}
        async with http.post(f"{served.inside}/chat/completions", json=body) as response:
            events = [line async for line in response.content if line.startswith(b"data: {")]
        answer = "".join(
            json.loads(event[6:])["choices"][0]["delta"].get("content") or "" for event in events
        )
    else:
        answer = (await ask(http, served.inside, text, model="auto:direct"))["choices"][0]["message"][
            "content"
        ]
    gained = await grown(http, served, before)
    n_tokens = int(served.encoder.encode([talk(text)]).n_tokens[0])
    assert gained["prompt_tokens_total"] == n_tokens
    assert gained["request_success_total"] == 1
    direct = {"model": MODEL, "messages": talk(text), "temperature": 0, "max_tokens": 8}
    async with http.post(f"{served.vllm}/v1/chat/completions", json=direct) as response:
        assert (await response.json())["choices"][0]["message"]["content"] == answer


async def test_another_ones_answer_is_asked_for_and_the_scouts_is_given_up(
    served: Served, http: aiohttp.ClientSession
) -> None:
    text = prompts(1, seed=9)[0]
    before = await counters(http, served)
    answer = await ask(http, served.inside, text, model="auto:think", max_tokens=120, ignore_eos=True)
    gained = await grown(http, served, before)
    assert answer["foresight"]["served_by"] == "think"
    assert answer["usage"]["completion_tokens"] == 120
    assert 120 <= gained["generation_tokens_total"] < 150  # not twice 120
    assert gained["prompt_tokens_total"] <= 2 * answer["usage"]["prompt_tokens"] + 1


async def test_a_client_that_leaves_stops_everything(served: Served, http: aiohttp.ClientSession) -> None:
    before = await counters(http, served)

    async def leave(text: str, after_s: float) -> None:
        body = {"model": "auto", "messages": talk(text), "max_tokens": 300, "ignore_eos": True}
        with suppress(TimeoutError):
            async with asyncio.timeout(after_s):
                await (await http.post(f"{served.inside}/chat/completions", json=body)).read()

    texts = prompts(12, seed=10, longest=100)
    await asyncio.gather(*(leave(text, 0.01 + 0.02 * i) for i, text in enumerate(texts)))
    gained = await grown(http, served, before)
    assert gained["generation_tokens_total"] < 12 * 300
    assert_same(await route(http, served.inside, texts[0]), served.router.decide(talk(texts[0])))


def shifted(router: Router, level: float) -> Router:
    """The router with other weights."""
    old = router.scorer
    probes = replace(old.probes, level=old.probes.level + level)
    scorer = Scorer(probes, old.calibrator, old.length, old.novelty)
    return Router(router.pool, scorer, router.fitted, router.identity)


async def test_weights_are_replaced_without_a_restart(served: Served, http: aiohttp.ClientSession) -> None:
    text = prompts(1, seed=11)[0]
    new = shifted(served.router, 1.0)
    try:
        served.scout.use(new)
        after = await served.scout.read(talk(text))
        wanted = new.scorer.project(served.encoder.encode([talk(text)]).features())
        np.testing.assert_allclose(after.projection.values, wanted.values, rtol=1e-3, atol=2e-3)
    finally:
        served.scout.use(served.router)
    assert_same(await route(http, served.inside, text), served.router.decide(talk(text)))


async def test_scores_of_other_weights_are_refused(served: Served) -> None:
    served.post.room.publish(shifted(served.router, -1.0).scorer)
    try:
        with pytest.raises(BackendError, match="another router"):
            await served.scout.read(talk("what is seven"))
    finally:
        served.scout.use(served.router)


async def test_an_engine_that_reads_something_else_is_not_used(served: Served) -> None:
    right = Reference.read(served.encoder)
    wrong = replace(right, features=np.roll(right.features, 1))

    class Guest(EngineScout):
        """Shares the engine with another scout and leaves it as it was."""

        async def close(self) -> None:
            await self._work.cancel()
            await self._channel.close()

    guest = Guest(served.post, served.router, wrong)
    scout = FallbackScout(guest, lambda: local_scout(served.router, GatewaySettings()))
    await scout.start()
    try:
        with pytest.raises(ArtefactError, match="relative error"):
            await guest.ready()
        await scout.ready()
        assert scout.status()["state"] == "fallback"
        reading = await scout.read(talk("what is seven plus five"))
        expected = served.encoder.encode([talk("what is seven plus five")])
        np.testing.assert_array_equal(reading.values, expected.values)  # type: ignore[union-attr]
    finally:
        await scout.close()


async def test_what_the_engine_refuses_is_read_locally(served: Served, http: aiohttp.ClientSession) -> None:
    """A prompt that is longer than the engine's context: only who has read it can say how long it is."""
    text = "seven " * 600
    n_tokens = int(served.encoder.encode([talk(text)]).n_tokens[0])
    async with http.post(f"{served.inside}/route", json={"messages": talk(text)}) as response:
        error = (await response.json())["error"]
    assert (response.status, error["code"]) == (400, "context_length_exceeded")
    assert str(n_tokens + 1) in error["message"]
