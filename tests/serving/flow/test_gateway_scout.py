"""The scout inside the gateway: a real encoder, and what happens when it is slow, switched off, or busy."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from probes.encoders.encoder import Activations
from probes.encoders.transformers import TransformersEncoder
from probes.scoring.scores import ScoreTable
from router.configuration.pool import Pool
from router.router import Router
from serving.run import running_gateway
from serving.settings import GatewaySettings
from tests.serving.routing import IDENTITY, WordEncoder, WordScorer, router_of

EASY = [{"role": "user", "content": "what is seven plus five"}]


class SlowEncoder(WordEncoder):
    """Takes half a second for each batch."""

    def encode(self, conversations: Any, **options: Any) -> Activations:
        time.sleep(0.5)
        return super().encode(conversations, **options)


class CalmScorer(WordScorer):
    """Finds every query easy, whatever the encoder read."""

    def score(self, features: Any) -> ScoreTable:
        """Easy and familiar."""
        return super().score(np.zeros((len(features), 2)))


async def ask(url: str, **fields: Any) -> dict[str, Any]:
    """One explained answer."""
    body = {"model": "auto", "messages": EASY, "foresight": {"explain": True}, **fields}
    async with aiohttp.ClientSession() as http, http.post(f"{url}/chat/completions", json=body) as response:
        answer: dict[str, Any] = await response.json()
        assert response.status == 200, answer
        return answer


async def test_the_scout_reads_what_the_candidate_reads(local_pool: Pool, tiny_llama: Path) -> None:
    encoder = TransformersEncoder(tiny_llama)
    fitted = router_of(local_pool).fitted
    router = Router(local_pool, CalmScorer(local_pool.names), fitted, encoder.identity, encoder=encoder)
    settings = GatewaySettings(port=0, scout_timeout_s=60)

    async with running_gateway(local_pool, router, settings=settings) as url:
        answers = await asyncio.gather(*(ask(url, messages=EASY * size) for size in range(1, 9)))

    for answer in answers:
        told = answer["foresight"]
        assert told["policy"] == "cheapest-likely"
        thought = told["served_by"] == "small:think"
        assert answer["usage"]["prompt_tokens"] == told["input_tokens"] + thought


async def test_a_slow_scout_does_not_hold_up_the_answer(local_pool: Pool) -> None:
    settings = GatewaySettings(port=0, scout_timeout_s=0.05)
    async with running_gateway(local_pool, router_of(local_pool, SlowEncoder()), settings=settings) as url:
        told = (await ask(url))["foresight"]

    assert (told["served_by"], told["policy"]) == ("large", "safe")
    assert "did not answer within 0.05 s" in told["reason"]


async def test_without_a_scout_every_query_goes_to_the_safe_candidate(local_pool: Pool) -> None:
    settings = GatewaySettings(port=0, scout_mode="none")
    async with running_gateway(local_pool, router_of(local_pool), settings=settings) as url:
        told = (await ask(url))["foresight"]

    assert (told["served_by"], told["policy"]) == ("large", "safe")
    assert "switched off" in told["reason"]


async def test_concurrent_queries_are_read_in_batches(local_pool: Pool) -> None:
    encoder = SlowEncoder()
    settings = GatewaySettings(port=0, scout_batch=16, scout_timeout_s=60)
    async with running_gateway(local_pool, router_of(local_pool, encoder), settings=settings) as url:
        await asyncio.gather(*(ask(url, max_tokens=1) for _ in range(20)))

    assert sum(encoder.batches) == 20
    assert len(encoder.batches) < 10
    assert encoder.identity is IDENTITY
