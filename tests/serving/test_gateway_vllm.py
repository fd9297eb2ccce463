"""The gateway in front of real vLLM: a managed server, and one that runs already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import openai
import pytest
from openai import OpenAI

from serving.run import background_gateway
from serving.vllm.process import VllmServer
from tests.serving.routing import pool_of, router_of

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(400)]

EASY = [{"role": "user", "content": "what is seven plus five"}]
GREEDY = {"temperature": 0, "max_tokens": 8}


@pytest.fixture(scope="module")
def client(vllm_server: VllmServer) -> Iterator[OpenAI]:
    """A gateway over the running server, with two candidates of its model."""
    think = {**GREEDY, "chat_template_kwargs": {"enable_thinking": True}}
    pool = pool_of(
        {"vllm": {"kind": "openai", "url": f"{vllm_server.url}/v1"}},
        {
            "small": {"backend": "vllm", "model": "tiny", "context_tokens": 512, "decoding": GREEDY},
            "small:think": {"backend": "vllm", "model": "tiny", "context_tokens": 512, "decoding": think},
        },
    )
    with ExitStack() as stack:
        url = stack.enter_context(background_gateway(pool, router_of(pool)))
        yield stack.enter_context(OpenAI(base_url=url, api_key="none", max_retries=0))


def test_answers_are_those_of_the_server_itself(client: OpenAI, vllm_server: VllmServer) -> None:
    with OpenAI(base_url=f"{vllm_server.url}/v1", api_key="none") as direct:
        expected = direct.chat.completions.create(model="tiny", messages=EASY, **GREEDY)  # type: ignore[arg-type, call-overload]

    answer = client.chat.completions.create(model="auto", messages=EASY)  # type: ignore[arg-type]
    chunks = list(client.chat.completions.create(model="auto", messages=EASY, stream=True))  # type: ignore[arg-type]

    text = expected.choices[0].message.content
    assert answer.choices[0].message.content == text
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
    assert answer.usage == expected.usage


def test_candidates_of_one_model_share_the_server(client: OpenAI) -> None:
    direct, think = (
        client.chat.completions.create(model=model, messages=EASY)  # type: ignore[arg-type]
        for model in ("small", "small:think")
    )

    assert think.usage.prompt_tokens == direct.usage.prompt_tokens + 1  # type: ignore[union-attr]


def test_features_pass_through(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="small",
        messages=EASY,  # type: ignore[arg-type]
        logprobs=True,
        top_logprobs=2,
        n=2,
        seed=3,
        temperature=1.0,
        extra_body={"min_tokens": 4, "top_k": 50},
    )

    assert len(answer.choices) == 2
    assert len(answer.choices[0].logprobs.content[0].top_logprobs) == 2  # type: ignore[union-attr, index]


def test_the_explanation_comes_before_done(client: OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="auto",
            messages=EASY,  # type: ignore[arg-type]
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"foresight": {"explain": True}},
        )
    )

    assert chunks[-1].model_extra["foresight"]["served_by"] == "small"  # type: ignore[index]
    assert chunks[-2].usage is not None


def test_vllms_errors_have_openais_shape(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="small", messages=[{"role": "user", "content": "seven " * 600}])
    assert (caught.value.param, caught.value.code) == ("messages", "context_length_exceeded")

    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="small", messages=EASY, temperature=-1)  # type: ignore[arg-type]
    assert caught.value.type == "invalid_request_error"
    assert caught.value.code is None or not caught.value.code.isdecimal()


async def test_a_client_that_leaves_stops_the_generation(client: OpenAI, vllm_server: VllmServer) -> None:
    stream = client.chat.completions.create(
        model="small",
        messages=EASY,  # type: ignore[arg-type]
        stream=True,
        max_tokens=400,
        extra_body={"ignore_eos": True},
    )
    next(iter(stream))
    stream.close()

    async with aiohttp.ClientSession() as http:
        for _ in range(100):
            async with http.get(f"{vllm_server.url}/metrics") as response:
                lines = (await response.text()).splitlines()
            running = [line for line in lines if line.startswith("vllm:num_requests_running")]
            if running and all(float(line.split()[-1]) == 0 for line in running):
                break
        else:
            pytest.fail("vLLM is still generating")
        generated = [line for line in lines if line.startswith("vllm:generation_tokens_total")]
    assert float(generated[0].split()[-1]) < 400


def test_a_managed_server_is_started_and_stopped(
    tiny_llama: Path, tmp_path: Path, vllm_environment: object
) -> None:
    server = {"kind": "vllm", "model_path": str(tiny_llama), "max_model_len": 512, "gpu_memory_fraction": 0.1}
    pool = pool_of({"tiny": server}, {"small": {"backend": "tiny", "model": "tiny", "decoding": GREEDY}})

    with background_gateway(pool, router_of(pool), log_folder=tmp_path) as url:
        with OpenAI(base_url=url, api_key="none") as client:
            answer = client.chat.completions.create(model="auto", messages=EASY)  # type: ignore[arg-type]
        log = tmp_path / "vllm-tiny.log"
        assert log.exists()

    assert answer.choices[0].message.content is not None
