"""Real vLLM servers: they answer, they count, and they leave nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from probes.errors import BackendError, ConfigError
from serving.vllm.environment import VllmEnvironment
from serving.vllm.process import VllmServer, free_port
from tests.tiny import tiny_server_options

STARTS_A_SERVER = pytest.mark.timeout(400)


def group_members(group: int) -> list[int]:
    """Processes of a process group that still run; zombies do not."""
    members = []
    for entry in Path("/proc").iterdir():
        try:
            state, _, process_group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if int(process_group) == group and state != "Z":
            members.append(int(entry.name))
    return members


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def chat(server: VllmServer, **body: Any) -> dict[str, Any]:
    content = {"model": "tiny", "messages": [{"role": "user", "content": "what is"}], "max_tokens": 4} | body
    request = urllib.request.Request(
        f"{server.url}/v1/chat/completions",
        data=json.dumps(content).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def counter(server: VllmServer, name: str) -> float:
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"vllm:{name}{{"))


@pytest.fixture
def broken_llama(tiny_llama: Path, tmp_path: Path) -> Path:
    """A folder that looks like a model, with weights cut short."""
    folder = tmp_path / "broken"
    shutil.copytree(tiny_llama, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    return folder


@pytest.mark.vllm
@STARTS_A_SERVER
class TestRunningServer:
    def test_answers_and_counts_tokens_as_its_metrics_do(self, vllm_server: VllmServer) -> None:
        before = counter(vllm_server, "generation_tokens_total")

        answer = chat(vllm_server, min_tokens=4)

        assert answer["model"] == "tiny"
        assert answer["usage"]["completion_tokens"] == 4
        assert counter(vllm_server, "generation_tokens_total") == before + 4

    def test_passes_enable_thinking_to_the_template(self, vllm_server: VllmServer) -> None:
        direct = chat(vllm_server, chat_template_kwargs={"enable_thinking": False})
        think = chat(vllm_server, chat_template_kwargs={"enable_thinking": True})

        assert think["usage"]["prompt_tokens"] == direct["usage"]["prompt_tokens"] + 1

    def test_greedy_answers_are_those_of_transformers(
        self, vllm_server: VllmServer, tiny_llama: Path
    ) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
        model = AutoModelForCausalLM.from_pretrained(tiny_llama)
        messages = [{"role": "user", "content": "what is seven plus five"}]
        rendered = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt")
        ids = model.generate(**rendered, max_new_tokens=8, do_sample=False)[
            0, rendered["input_ids"].shape[1] :
        ]

        answer = chat(vllm_server, messages=messages, max_tokens=8, temperature=0)

        expected = tokenizer.decode(ids, skip_special_tokens=True)
        assert answer["choices"][0]["message"]["content"].strip() == expected.strip()

    def test_shares_whole_blocks_of_a_prompt_seen_before(self, vllm_server: VllmServer) -> None:
        messages = [{"role": "user", "content": "the quick brown fox jumps over the lazy dog " * 8}]
        chat(vllm_server, messages=messages)

        again = chat(vllm_server, messages=messages)

        assert again["usage"]["prompt_tokens_details"]["cached_tokens"] >= 32

    def test_refuses_a_second_start(self, vllm_server: VllmServer) -> None:
        with pytest.raises(BackendError, match="already started"):
            vllm_server.__enter__()
        assert vllm_server.running

    def test_does_not_share_its_port(
        self, vllm_server: VllmServer, tiny_llama: Path, vllm_environment: VllmEnvironment, tmp_path: Path
    ) -> None:
        options = tiny_server_options(tiny_llama, port=vllm_server.options.port)
        with pytest.raises(BackendError, match="taken") as caught:
            VllmServer(options, log_path=tmp_path / "log", environment=vllm_environment).__enter__()
        assert caught.value.param == "port"


@pytest.mark.vllm
@STARTS_A_SERVER
async def test_servers_start_side_by_side_and_a_broken_model_stops_only_its_own(
    tiny_llama: Path, broken_llama: Path, vllm_environment: VllmEnvironment, tmp_path: Path
) -> None:
    good = VllmServer(
        tiny_server_options(tiny_llama), log_path=tmp_path / "good.log", environment=vllm_environment
    )
    broken = VllmServer(
        tiny_server_options(broken_llama), log_path=tmp_path / "broken.log", environment=vllm_environment
    )

    good_result, broken_result = await asyncio.gather(good.start(), broken.start(), return_exceptions=True)
    group = good.pid
    try:
        answer = await asyncio.to_thread(chat, good)
        members = group_members(group or 0)
    finally:
        await good.stop()

    assert good_result is None
    assert isinstance(broken_result, BackendError)
    assert "before it could serve 'tiny'" in str(broken_result)
    assert "SafetensorError: Error while deserializing header" in str(broken_result)
    assert "Traceback" not in str(broken_result)
    assert str(tmp_path / "broken.log") in (broken_result.hint or "")
    assert not broken.running
    assert answer["choices"]
    assert group is not None
    assert len(members) >= 2
    assert group_members(group) == []
    await good.stop()


PARENT = """
import json, sys, time
from pathlib import Path
from serving.vllm.flags import ServerOptions
from serving.vllm.process import VllmServer
model, port, log = sys.argv[1:]
options = ServerOptions(model, name="tiny", port=int(port), max_model_len=512, cores="0")
with VllmServer(options, log_path=Path(log)) as server:
    print(server.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.vllm
@STARTS_A_SERVER
def test_server_ends_when_its_parent_is_killed(
    tiny_llama: Path, vllm_environment: VllmEnvironment, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", PARENT, str(tiny_llama), str(free_port()), str(tmp_path / "log")]
    env = os.environ | {"FORESIGHT_VLLM_PYTHON": str(vllm_environment.python)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as parent:
        try:
            assert parent.stdout is not None
            group = int(parent.stdout.readline())
            assert group_members(group)
        finally:
            parent.send_signal(signal.SIGKILL)

    assert wait_until(lambda: not group_members(group), 15), group_members(group)


@pytest.mark.vllm
async def test_a_late_server_is_an_error_and_is_ended(
    tiny_llama: Path, vllm_environment: VllmEnvironment, tmp_path: Path
) -> None:
    server = VllmServer(
        tiny_server_options(tiny_llama),
        log_path=tmp_path / "log",
        environment=vllm_environment,
        ready_timeout_s=1.0,
    )
    with pytest.raises(BackendError, match=r"not ready to serve 'tiny' within 1 s"):
        await server.start()
    assert server.pid is None


@pytest.mark.vllm
async def test_a_cancelled_start_leaves_nothing(
    tiny_llama: Path, vllm_environment: VllmEnvironment, tmp_path: Path
) -> None:
    server = VllmServer(
        tiny_server_options(tiny_llama), log_path=tmp_path / "log", environment=vllm_environment
    )
    start = asyncio.create_task(server.start())
    while server.pid is None:
        await asyncio.sleep(0.05)
    group = server.pid

    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start

    assert group_members(group) == []


def test_an_environment_without_vllm_says_so_at_once(tiny_llama: Path, tmp_path: Path) -> None:
    nothing = VllmEnvironment(Path(sys.executable), "0", "cpu")
    server = VllmServer(tiny_server_options(tiny_llama), log_path=tmp_path / "log", environment=nothing)
    with pytest.raises(BackendError, match="ModuleNotFoundError: No module named 'vllm'"):
        server.__enter__()


def test_a_folder_without_a_model_is_refused_before_anything_starts(tmp_path: Path) -> None:
    nothing = VllmEnvironment(Path(sys.executable), "0", "cpu")
    server = VllmServer(tiny_server_options(tmp_path), log_path=tmp_path / "log", environment=nothing)
    with pytest.raises(ConfigError, match=r"there is no config\.json") as caught:
        server.__enter__()
    assert caught.value.param == "model_path"
    assert server.pid is None
    assert not (tmp_path / "log").exists()


@pytest.mark.vllm
@STARTS_A_SERVER
def test_a_flag_that_vllm_does_not_know_is_named(
    tiny_llama: Path, vllm_environment: VllmEnvironment, tmp_path: Path
) -> None:
    options = tiny_server_options(tiny_llama, args=("--no-such-flag",))
    server = VllmServer(options, log_path=tmp_path / "log", environment=vllm_environment)
    with pytest.raises(BackendError, match="unrecognized arguments: --no-such-flag"):
        server.__enter__()
