"""How a vLLM server is started: its command-line flags and its environment variables.

On a CPU the defaults of vLLM suit a large model (compilation, several processes, gigabytes of cache for
keys and values, every core). The flags here start one in about 15 s and 1 GB (vLLM 0.32, two cores).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from probes.errors import ConfigError
from router.configuration.settings import VllmOptions
from serving.vllm.environment import Device

MIN_CACHE_BYTES = 64 << 20
MAX_CACHE_BYTES = 4 << 30
CPU_BLOCK_TOKENS = 32
"""Tokens per cache block on a CPU. vLLM takes 128; a prefix is shared in whole blocks only."""

_QUIET = {
    "DO_NOT_TRACK": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
}
_FROM_OUTSIDE = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
"""Variables of the gateway's environment that must not reach vLLM's."""


@dataclass(frozen=True)
class ServerOptions:
    """What one vLLM server serves and how."""

    model: str
    """A transformers folder, or the name of a model that vLLM fetches itself."""
    name: str
    """Model name in requests."""
    port: int
    host: str = "127.0.0.1"
    dtype: str | None = None
    """None: float32 on a CPU (exact; half precision is slow there), the checkpoint's own on a GPU."""
    max_model_len: int | None = None
    """Longest prompt plus answer, in tokens; None: what the model was made for."""
    max_num_seqs: int = 32
    """Requests answered at the same time; more wait."""
    eager: bool | None = None
    """Skip compilation. None: yes on a CPU (saves 10 to 80 s of start), no on a GPU."""
    cores: str | None = None
    """CPU cores to compute on, as `0` or `0-3`; None: all that this process may use."""
    gpu_memory_fraction: float | None = None
    """Share of the GPU's memory, (0, 1], which several servers must share out; None: vLLM's choice."""
    args: tuple[str, ...] = ()
    """Further flags of `vllm serve`, last, so that they win."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Further environment variables, which win as well."""

    @property
    def folder(self) -> Path | None:
        """The model's folder, or None if `model` is a name.

        Raises
        ------
        ConfigError
            If `model` looks like a path and holds no model.
        """
        folder = Path(self.model)
        if (folder / "config.json").is_file():
            return folder
        if folder.exists() or self.model.startswith((".", "/", "~")) or self.model.count("/") != 1:
            raise ConfigError(
                f"No model in {self.model}: there is no config.json",
                param="model_path",
                hint="Name a transformers folder (config.json, tokenizer, safetensors).",
            )
        return None


def server_options(settings: VllmOptions, model: str, name: str, port: int) -> ServerOptions:
    """Options of a server as a pool file sets them.

    Parameters
    ----------
    settings
        The pool's.
    model, name, port
        As in `ServerOptions`.
    """
    options = ServerOptions(
        model,
        name=name,
        port=port,
        dtype=settings.dtype,
        max_model_len=settings.max_model_len,
        cores=settings.cores,
        gpu_memory_fraction=settings.gpu_memory_fraction,
        args=settings.args,
        env=settings.env,
    )
    if settings.max_num_seqs is None:
        return options
    return replace(options, max_num_seqs=settings.max_num_seqs)


def command_line(options: ServerOptions, device: Device) -> list[str]:
    """Arguments of vLLM's command, from `serve` on.

    Parameters
    ----------
    options
        What to serve.
    device
        What the installed vLLM computes on.
    """
    folder = options.folder
    flags: dict[str, Any] = {
        "host": options.host,
        "port": options.port,
        "served-model-name": options.name,
        "dtype": options.dtype or ("float32" if device == "cpu" else "auto"),
        "max-model-len": options.max_model_len,
        "max-num-seqs": options.max_num_seqs,
        "gpu-memory-utilization": options.gpu_memory_fraction if device == "cuda" else None,
        "uvicorn-log-level": "warning",
    }
    if device == "cpu":
        flags["block-size"] = CPU_BLOCK_TOKENS
        if folder is not None:
            flags["kv-cache-memory-bytes"] = cache_bytes(_config(folder), options)
    line = ["serve", str(folder.resolve() if folder else options.model)]
    for flag, value in flags.items():
        if value is not None:
            line += [f"--{flag}", str(value)]
    line += ["--disable-uvicorn-access-log", "--enable-prompt-tokens-details"]
    if options.eager if options.eager is not None else device == "cpu":
        line.append("--enforce-eager")
    return [*line, *options.args]


def environment_variables(
    options: ServerOptions, device: Device, outside: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The whole environment of the server process.

    Parameters
    ----------
    options
        What to serve.
    device
        What the installed vLLM computes on.
    outside
        The environment to start from; None takes this process's.
    """
    outside = os.environ if outside is None else outside
    env = {name: value for name, value in outside.items() if name not in _FROM_OUTSIDE}
    env |= _QUIET | {"VLLM_HOST_IP": options.host}
    if options.folder is not None:
        env["HF_HUB_OFFLINE"] = "1"
    if device == "cpu":
        cores = options.cores or core_range(available_cores())
        # One process less, and its start: the worker runs inside the engine.
        env |= {"VLLM_TARGET_DEVICE": "cpu", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
        env |= {"VLLM_CPU_OMP_THREADS_BIND": cores, "OMP_NUM_THREADS": str(n_cores(cores))}
        # Whole gibibytes, and it would overrule --kv-cache-memory-bytes.
        env.pop("VLLM_CPU_KVCACHE_SPACE", None)
    return env | dict(options.env)


def cache_bytes(config: Mapping[str, Any], options: ServerOptions) -> int | None:
    """Memory for the keys and values of a half-full server, in bytes.

    Room for half of `max_num_seqs` sequences of full length, between 64 MiB and 4 GiB:
    2 (keys, values) × layers × key-value heads × head width × 4 bytes a token.

    Parameters
    ----------
    config
        The model's `config.json`.
    options
        The server's lengths.

    Returns
    -------
    The size, or None where the configuration is not of the usual kind: vLLM then decides.
    """
    try:
        heads = config["num_attention_heads"]
        width = config.get("head_dim") or config["hidden_size"] // heads
        per_token = 2 * config["num_hidden_layers"] * config.get("num_key_value_heads", heads) * width * 4
        length = options.max_model_len or config["max_position_embeddings"]
    except KeyError:
        return None
    wanted = per_token * length * max(options.max_num_seqs // 2, 1)
    return int(min(max(wanted, MIN_CACHE_BYTES), MAX_CACHE_BYTES))


def available_cores() -> list[int]:
    """CPU cores that this process may use, ascending."""
    return sorted(os.sched_getaffinity(0))


def core_of(index: int) -> str:
    """A core for the server at `index` of several: each takes one in turn, so that they do not crowd one."""
    cores = available_cores()
    return str(cores[index % len(cores)])


def core_range(cores: list[int]) -> str:
    """Cores as vLLM reads them: `0-3` or `0,2,5`."""
    if len(cores) > 1 and cores == list(range(cores[0], cores[-1] + 1)):
        return f"{cores[0]}-{cores[-1]}"
    return ",".join(map(str, cores))


def n_cores(cores: str) -> int:
    """How many cores a string such as `0-3,5` names."""
    ends = [part.split("-") for part in cores.split(",")]
    return sum(int(end[-1]) - int(end[0]) + 1 for end in ends)


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text())
    except ValueError as error:
        raise ConfigError(f"{folder}/config.json is not JSON: {error}", param="model_path") from error
    text: dict[str, Any] = config.get("text_config", config)
    return text
