"""What eighty proxies cost beside the bare forward pass of a model with a large vocabulary.

``python -m eval.benchmarks.forecast.passes bare|proxies VOCABULARY`` runs one of them in a process of its
own, whose highest resident memory is then its own too.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from eval.benchmarks.row import Row, Setting
from probes.errors import BackendError

VOCABULARY, VOCABULARY_QUICK = 150_000, 20_000
HIDDEN, LAYERS, TOKENS = 512, 6, 512
REPEATS = 5


def rows(setting: Setting) -> Iterator[Row]:
    """Time and memory of a teacher-forced pass with all statistics, over the model's own forward pass."""
    size = VOCABULARY_QUICK if setting.quick else VOCABULARY
    bare, full = _measured("bare", size), _measured("proxies", size)
    time_ratio = full["cpu_s"] / bare["cpu_s"]
    memory_ratio = full["peak_mb"] / bare["peak_mb"]
    measured = (
        f"{time_ratio:.2f}x ({full['cpu_s']:.2f} s of processor time against {bare['cpu_s']:.2f} s), memory"
        f" {memory_ratio:.2f}x ({full['peak_mb']:.0f} MB at most against {bare['peak_mb']:.0f} MB; before the"
        f" pass {bare['before_mb']:.0f} MB)"
    )
    yield Row(
        f"80 proxies in one pass over {TOKENS} tokens, vocabulary {size:,}, {LAYERS} layers of {HIDDEN}",
        "<= 1.25x the bare forward; memory within 1.5x",
        measured,
        time_ratio <= 1.25 and memory_ratio <= 1.5,
    )


def _measured(way: str, vocabulary: int) -> dict[str, float]:
    command = [sys.executable, "-m", "eval.benchmarks.forecast.passes", way, str(vocabulary)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BackendError(f"The pass did not run: {done.stderr[-300:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _run(way: str, vocabulary: int) -> dict[str, float]:
    """Processor seconds of the fastest of several passes, and memory before and at most, in MB (10^6)."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from probes.forecast.rank.proxies import Trajectory, proxies
    from probes.forecast.rank.statistics import stream

    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=HIDDEN,
        intermediate_size=4 * HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=8,
        tie_word_embeddings=True,
    )
    model: Any = LlamaForCausalLM(config).eval()
    ids = torch.randint(0, vocabulary, (1, TOKENS))

    def bare() -> None:
        model(input_ids=ids, use_cache=False)

    def full() -> None:
        states = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0, :-1]
        table = stream(states, model.get_output_embeddings().weight, ids[0, 1:]).table().numpy()
        ones = table[:, 0] * 0 + 1
        proxies(Trajectory(table, ones, ones))

    before = _memory_mb("VmRSS:")
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest memory so far: making the model
    with torch.inference_mode():
        seconds = min(_processor_time(bare if way == "bare" else full) for _ in range(REPEATS))
    return {"cpu_s": seconds, "peak_mb": _memory_mb("VmHWM:"), "before_mb": before}


def _memory_mb(label: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(label))


def _processor_time(run: Callable[[], None]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_run(sys.argv[1], int(sys.argv[2]))) + "\n")
