"""How vLLM is started, without starting it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from probes.errors import ConfigError
from serving.vllm import flags
from serving.vllm.flags import ServerOptions, cache_bytes, command_line, environment_variables

LLAMA = {
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "hidden_size": 256,
    "head_dim": 32,
    "num_hidden_layers": 4,
    "max_position_embeddings": 2048,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    return tmp_path


def options(model: Path | str, **changes: Any) -> ServerOptions:
    return ServerOptions(str(model), name="m", port=8001, **changes)


def value_of(line: list[str], flag: str) -> str:
    return line[line.index(flag) + 1]


def test_a_cpu_server_is_exact_eager_and_small(folder: Path) -> None:
    line = command_line(options(folder), "cpu")

    assert line[:2] == ["serve", str(folder)]
    assert value_of(line, "--dtype") == "float32"
    assert value_of(line, "--block-size") == "32"
    assert "--enforce-eager" in line
    assert int(value_of(line, "--kv-cache-memory-bytes")) >= flags.MIN_CACHE_BYTES


def test_a_gpu_server_keeps_vllms_own_defaults(folder: Path) -> None:
    line = command_line(options(folder, gpu_memory_fraction=0.3), "cuda")

    assert value_of(line, "--dtype") == "auto"
    assert value_of(line, "--gpu-memory-utilization") == "0.3"
    for flag in ("--enforce-eager", "--block-size", "--kv-cache-memory-bytes"):
        assert flag not in line


def test_further_flags_come_last_so_that_they_win(folder: Path) -> None:
    line = command_line(options(folder, args=("--dtype", "bfloat16")), "cpu")
    assert line[-2:] == ["--dtype", "bfloat16"]


def test_eager_can_be_chosen_on_either_device(folder: Path) -> None:
    assert "--enforce-eager" not in command_line(options(folder, eager=False), "cpu")
    assert "--enforce-eager" in command_line(options(folder, eager=True), "cuda")


def test_a_name_is_left_to_vllm_and_a_folder_is_served_offline(folder: Path) -> None:
    assert command_line(options("maker/model"), "cpu")[1] == "maker/model"
    assert "HF_HUB_OFFLINE" not in environment_variables(options("maker/model"), "cpu", {})
    assert environment_variables(options(folder), "cpu", {})["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize("model", ["./nowhere", "/nowhere/at/all", "a/b/c", "nothing"])
def test_a_path_without_a_model_is_a_clear_error(model: str) -> None:
    with pytest.raises(ConfigError, match="No model in") as caught:
        command_line(options(model), "cpu")
    assert caught.value.param == "model_path"


def test_a_broken_configuration_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="is not JSON"):
        command_line(options(tmp_path), "cpu")


def test_the_gateways_own_python_does_not_leak_into_vllms(folder: Path) -> None:
    outside = {
        "PYTHONPATH": "/ours",
        "VIRTUAL_ENV": "/ours",
        "VLLM_CPU_KVCACHE_SPACE": "4",
        "HOME": "/home/a",
    }
    env = environment_variables(options(folder), "cpu", outside)
    assert "PYTHONPATH" not in env
    assert "VIRTUAL_ENV" not in env
    assert "VLLM_CPU_KVCACHE_SPACE" not in env
    assert env["HOME"] == "/home/a"


def test_threads_follow_the_cores(folder: Path) -> None:
    env = environment_variables(options(folder, cores="0-2,5"), "cpu", {})
    assert env["VLLM_CPU_OMP_THREADS_BIND"] == "0-2,5"
    assert env["OMP_NUM_THREADS"] == "4"


def test_somebodys_own_variables_win(folder: Path) -> None:
    env = environment_variables(options(folder, env={"OMP_NUM_THREADS": "7"}), "cpu", {})
    assert env["OMP_NUM_THREADS"] == "7"


def test_the_cache_holds_half_of_the_sequences_at_full_length() -> None:
    # 2 x 4 layers x 2 heads x 32 wide x 4 bytes x 2048 tokens x 16 sequences
    assert cache_bytes(LLAMA, options("a/b")) == 2 * 4 * 2 * 32 * 4 * 2048 * 16


def test_the_cache_is_bounded_and_left_to_vllm_for_unusual_models() -> None:
    assert cache_bytes(LLAMA, options("a/b", max_model_len=16)) == flags.MIN_CACHE_BYTES
    assert cache_bytes(LLAMA | {"max_position_embeddings": 1 << 24}, options("a/b")) == flags.MAX_CACHE_BYTES
    assert cache_bytes({"state_size": 16}, options("a/b")) is None


def test_each_server_gets_a_core_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flags, "available_cores", lambda: [2, 3])
    assert [flags.core_of(index) for index in range(3)] == ["2", "3", "2"]


@pytest.mark.parametrize(("cores", "text"), [([0], "0"), ([0, 1, 2], "0-2"), ([0, 2, 5], "0,2,5")])
def test_cores_are_written_as_vllm_reads_them(cores: list[int], text: str) -> None:
    assert flags.core_range(cores) == text
    assert flags.n_cores(text) == len(cores)
