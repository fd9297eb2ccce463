"""The local scout: batches under load, nobody suffers for others, nothing is left hanging."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from probes.encoders.conversation import Conversation, Tools
from probes.encoders.encoder import Activations
from probes.errors import BackendError, UsageError
from serving.scout import LocalScout


def talk(text: str) -> Conversation:
    return [{"role": "user", "content": text}]


class LengthEncoder:
    """Reads the length of the first message; can be held, and refuses the empty one."""

    identity: Any = None

    def __init__(self) -> None:
        self.batches: list[tuple[int, Any]] = []
        self.gate = threading.Event()
        self.gate.set()

    def encode(
        self, conversations: Sequence[Conversation], *, tools: Tools | None = None, progress: Any = None
    ) -> Activations:
        self.gate.wait(5)
        self.batches.append((len(conversations), tools))
        lengths = [len(conversation[0]["content"]) for conversation in conversations]
        if 0 in lengths:
            raise UsageError("empty", param="messages")
        values = np.array(lengths, dtype=np.float16).reshape(-1, 1, 1, 1)
        return Activations(values, np.array(lengths))


@asynccontextmanager
async def scouting(**options: Any) -> AsyncIterator[tuple[LocalScout, LengthEncoder]]:
    encoder = LengthEncoder()
    scout = LocalScout(encoder, **options)
    await scout.start()
    try:
        yield scout, encoder
    finally:
        encoder.gate.set()
        await scout.close()


async def test_each_query_gets_its_own_activations() -> None:
    async with scouting() as (scout, encoder):
        read = await asyncio.gather(*(scout.read(talk("x" * size)) for size in range(1, 40)))

    assert [int(activations.values[0, 0, 0, 0]) for activations in read] == list(range(1, 40))
    assert all(len(activations) == 1 for activations in read)
    assert len(encoder.batches) < 39


async def test_queries_that_wait_for_the_encoder_share_its_next_batch() -> None:
    async with scouting(max_batch=8) as (scout, encoder):
        encoder.gate.clear()
        first = asyncio.create_task(scout.read(talk("first")))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(scout.read(talk("other"))) for _ in range(10)]
        await asyncio.sleep(0.05)
        encoder.gate.set()
        await asyncio.gather(first, *others)

    assert [size for size, _ in encoder.batches] == [1, 8, 2]


async def test_tools_are_part_of_what_is_read() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    async with scouting(window_s=0.05) as (scout, encoder):
        await asyncio.gather(scout.read(talk("a")), scout.read(talk("b"), tools), scout.read(talk("c")))

    assert sorted((size, offered is not None) for size, offered in encoder.batches) == [(1, True), (2, False)]


async def test_a_bad_query_does_not_take_its_company_down() -> None:
    async with scouting(window_s=0.05) as (scout, _):
        read = await asyncio.gather(scout.read(talk("a")), scout.read(talk("")), return_exceptions=True)

    assert isinstance(read[0], Activations)
    assert isinstance(read[1], UsageError)


async def test_who_gives_up_is_not_encoded() -> None:
    async with scouting() as (scout, encoder):
        encoder.gate.clear()
        busy = asyncio.create_task(scout.read(talk("busy")))
        await asyncio.sleep(0.05)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await scout.read(talk("impatient"))
        encoder.gate.set()
        await busy
        await scout.read(talk("next"))

    assert [size for size, _ in encoder.batches] == [1, 1]


async def test_closing_fails_those_who_wait() -> None:
    async with scouting() as (scout, encoder):
        encoder.gate.clear()
        waiting = [asyncio.create_task(scout.read(talk("x"))) for _ in range(3)]
        await asyncio.sleep(0.05)
        encoder.gate.set()
        await scout.close()
        results = await asyncio.gather(*waiting, return_exceptions=True)

    assert all(isinstance(result, Activations | BackendError) for result in results)
    with pytest.raises(BackendError):
        await scout.read(talk("late"))
