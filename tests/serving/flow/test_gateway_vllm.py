"""The gateway in front of real vLLM: a managed server, and one that runs already."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import openai
import pytest
from openai import OpenAI

from serving.run import background_gateway
from serving.vllm import launch
from serving.vllm.environment import VllmEnvironment
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


def test_vllms_own_load_generator_works_unchanged(
    client: OpenAI, tiny_llama: Path, tmp_path: Path, vllm_environment: VllmEnvironment
) -> None:
    """`vllm bench serve`, as its users type it."""
    launcher = Path(launch.__file__)
    words = ["bench", "serve", "--backend", "openai-chat", "--endpoint", "/v1/chat/completions"]
    words += ["--base-url", str(client.base_url).removesuffix("/v1/"), "--model", "auto"]
    words += ["--tokenizer", str(tiny_llama), "--dataset-name", "random", "--num-prompts", "20"]
    words += ["--random-input-len", "24", "--random-output-len", "8", "--disable-tqdm"]
    words += ["--save-result", "--result-dir", str(tmp_path), "--result-filename", "result.json"]
    done = subprocess.run(
        [str(vllm_environment.python), "-P", str(launcher), *words],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["completed"], result["num_prompts"]) == (20, 20)
    assert result["total_output_tokens"] > 0
    assert result["mean_ttft_ms"] > 0


async def settled_generation_tokens(server: VllmServer) -> float:
    """Tokens the server has generated so far, once no request runs on it any more."""
    async with aiohttp.ClientSession() as http:
        for _ in range(100):
            async with http.get(f"{server.url}/metrics") as response:
                lines = (await response.text()).splitlines()
            running = [line for line in lines if line.startswith("vllm:num_requests_running")]
            if running and all(float(line.split()[-1]) == 0 for line in running):
                generated = [line for line in lines if line.startswith("vllm:generation_tokens_total")]
                return sum(float(line.split()[-1]) for line in generated)
            await asyncio.sleep(0.05)
    return pytest.fail("vLLM is still generating")


async def test_a_client_that_leaves_stops_the_generation(client: OpenAI, vllm_server: VllmServer) -> None:
    before = await settled_generation_tokens(vllm_server)
    stream = client.chat.completions.create(
        model="small",
        messages=EASY,  # type: ignore[arg-type]
        stream=True,
        max_tokens=400,
        extra_body={"ignore_eos": True},
    )
    next(iter(stream))
    stream.close()

    assert await settled_generation_tokens(vllm_server) - before < 400


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


@pytest.mark.parametrize(("accept", "who"), [(0.0, "small"), (1.0, "small:think")])
def test_a_cascade_reads_the_servers_own_log_probabilities(
    vllm_server: VllmServer, accept: float, who: str
) -> None:
    candidates = {
        name: {"backend": "vllm", "model": "tiny", "context_tokens": 512, "decoding": GREEDY}
        for name in ("small", "small:think")
    }
    policy = {"rule": "cascade", "ladder": ["small", "small:think"], "accept": accept}
    backends = {"vllm": {"kind": "openai", "url": f"{vllm_server.url}/v1"}}
    pool = pool_of(backends, candidates, policy=policy)
    explain = {"foresight": {"explain": True}}
    with (
        background_gateway(pool, router_of(pool)) as url,
        OpenAI(base_url=url, api_key="none", max_retries=0) as client,
    ):
        answer = client.chat.completions.create(model="auto", messages=EASY, extra_body=explain)  # type: ignore[arg-type]
        chunks = list(
            client.chat.completions.create(model="auto", messages=EASY, stream=True, extra_body=explain)  # type: ignore[arg-type]
        )

    told = answer.model_extra["foresight"]  # type: ignore[index]
    assert told["served_by"] == who
    assert 0 < told["tried"][0]["confidence"] < 1
    assert told["tried"][0]["cost_usd"] > 0
    assert answer.choices[0].logprobs is None
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == answer.choices[0].message.content
    assert chunks[-1].model_extra["foresight"]["served_by"] == who  # type: ignore[index]
