"""The in-process backend over a real tiny model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from probes.errors import ConfigError
from serving.backends.base import Call, State
from serving.backends.local import LocalBackend
from serving.http.errors import BackendFailure

TALK = [{"role": "user", "content": "what is seven plus five"}]


@pytest.fixture(scope="module")
async def backend(tiny_llama: Path) -> AsyncIterator[LocalBackend]:
    backend = LocalBackend("tiny", tiny_llama)
    await backend.start()
    yield backend
    await backend.close()


def call(stream: bool = False, **body: Any) -> Call:
    return Call(
        "chat/completions", {"model": "tiny", "messages": TALK, "temperature": 0, **body}, stream, "r"
    )


async def text_of(backend: LocalBackend, **body: Any) -> str:
    reply = await backend.ask(call(**body))
    return str(json.loads(await reply.read(1 << 20))["choices"][0]["message"]["content"])


async def test_greedy_text_is_what_transformers_generates(backend: LocalBackend, tiny_llama: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    prompt = tokenizer.apply_chat_template(
        TALK, add_generation_prompt=True, return_tensors="pt", return_dict=True, enable_thinking=True
    )
    ids = model.generate(**prompt, max_new_tokens=12, do_sample=False)[0, prompt["input_ids"].shape[1] :]

    text = await text_of(backend, max_tokens=12, chat_template_kwargs={"enable_thinking": True})

    assert text == tokenizer.decode(ids, skip_special_tokens=True)


async def test_a_reply_that_is_given_up_stops_at_the_next_token(backend: LocalBackend) -> None:
    reply = await backend.ask(call(stream=True, max_tokens=900))
    await anext(reply.chunks())
    await reply.aclose()

    async with asyncio.timeout(10):
        assert await text_of(backend, max_tokens=1)


async def test_a_question_that_is_cancelled_leaves_the_queue(backend: LocalBackend) -> None:
    busy = await backend.ask(call(stream=True, max_tokens=900))
    waiting = asyncio.create_task(backend.ask(call(max_tokens=900)))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await busy.aclose()

    async with asyncio.timeout(10):
        assert await text_of(backend, max_tokens=1)


async def test_a_refusal_is_a_reply_of_status_400(backend: LocalBackend) -> None:
    reply = await backend.ask(call(messages=[{"role": "user", "content": "x " * 2000}]))

    assert reply.status == 400
    assert json.loads(await reply.read(1000))["error"]["code"] == "context_length_exceeded"


async def test_a_token_outside_the_vocabulary_is_refused(backend: LocalBackend) -> None:
    reply = await backend.ask(Call("completions", {"model": "tiny", "prompt": [1 << 40]}, False, "r"))

    assert reply.status == 400
    assert json.loads(await reply.read(1000))["error"]["param"] == "prompt"


async def test_sampling_cuts_are_honoured(backend: LocalBackend) -> None:
    greedy = await text_of(backend, max_tokens=8)

    assert await text_of(backend, max_tokens=8, temperature=2.0, top_k=1) == greedy
    assert await text_of(backend, max_tokens=8, temperature=2.0, top_p=1e-6) == greedy


async def test_a_folder_without_a_model_is_a_clear_error(tmp_path: Path) -> None:
    backend = LocalBackend("empty", tmp_path)

    with pytest.raises(ConfigError, match="No transformers model"):
        await backend.start()
    assert (await backend.health()).state is State.STARTING
    with pytest.raises(BackendFailure):
        await backend.ask(call())
    await backend.close()
