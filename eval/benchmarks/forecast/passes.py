"""What eighty proxies cost beside the bare forward pass, at a large vocabulary."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from eval.benchmarks.row import Row, Setting

VOCABULARY = 150_000
WIDTH = 1024
TOKENS = 512
REPEATS = 3


def rows(setting: Setting) -> Iterator[Row]:
    """Time of the output layer with statistics over that with logits alone."""
    import torch

    from probes.forecast.statistics import stream

    size = 20_000 if setting.quick else VOCABULARY
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(TOKENS, WIDTH, generator=generator)
    head = torch.randn(size, WIDTH, generator=generator) / 32
    tokens = torch.randint(0, size, (TOKENS,), generator=generator)
    with torch.inference_mode():
        bare = _fastest(lambda: states @ head.T)
        full = _fastest(lambda: stream(states, head, tokens).table())
    ratio = full / bare
    largest = TOKENS * 8192 * 4 * 3 / 2**20
    whole = TOKENS * size * 4 / 2**20
    measured = (
        f"{ratio:.2f}x of the output layer alone (blocks before it cost the same); tables of about"
        f" {largest:.0f} MiB where the bare pass holds {whole:.0f} MiB of logits"
    )
    yield Row(
        f"80 proxies in one pass, vocabulary {size:,}, width {WIDTH}",
        "<= 1.25x the bare forward; memory within 1.5x",
        measured,
        ratio <= 1.25 and largest <= 1.5 * whole,
    )


def _fastest(run: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)
