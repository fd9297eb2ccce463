"""One streamed answer on the clock, and what two kinds of them have to do with each other."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import aiohttp
import numpy as np

from eval.tables import Floats
from probes.errors import BackendError

DRAWS = 2000


@dataclass(frozen=True)
class Timing:
    """One streamed answer: seconds to its first text, seconds a token after that, and the prompt's tokens."""

    first_s: float
    per_token_s: float
    prompt_tokens: int


async def ask(http: aiohttp.ClientSession, url: str, model: str, text: str, max_tokens: int) -> Timing:
    """Stream one answer of exactly so many tokens."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
    }
    began = time.perf_counter()
    first = last = 0.0
    usage: dict[str, int] = {}
    async with http.post(f"{url}/v1/chat/completions", json=body) as response:
        if response.status != 200:
            raise BackendError(f"{model} at {url} answered {response.status}: {await response.text()}")
        async for line in response.content:
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            usage = event.get("usage") or usage
            if event["choices"] and event["choices"][0]["delta"].get("content") is not None:
                last = time.perf_counter()
                if not first and event["choices"][0]["delta"].get("role") is None:
                    first = last
    steps = max(usage["completion_tokens"] - 1, 1)
    return Timing(first - began, (last - first) / steps, usage["prompt_tokens"])


async def computed(http: aiohttp.ClientSession, vllm: str) -> float:
    """Prompt tokens that a vLLM server has computed so far: all that were asked, less those in its cache."""
    async with http.get(f"{vllm}/metrics") as response:
        lines = (await response.text()).splitlines()

    def counter(name: str) -> float:
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"vllm:{name}{{"))

    return counter("prompt_tokens_total") - counter("prefix_cache_hits_total")


def typical(values: Floats) -> float:
    """Geometric mean of the medians of each row [halves, n].

    A half's cores weigh on it as a whole, and one median of all would stand now in the one, now in the other.
    """
    return float(np.exp(np.log(np.median(values, axis=-1)).mean()))


def ratio(above: Floats, below: Floats) -> tuple[float, float, float]:
    """typical(above) / typical(below), with a 95 % bootstrap interval; [halves, n] each, measured in turn."""
    pairs = np.stack([above, below])
    rng = np.random.default_rng(0)
    n_halves, n = pairs.shape[1:]
    drawn = []
    for _ in range(DRAWS):
        places = rng.integers(0, n, (n_halves, n))
        first, second = np.take_along_axis(pairs, places[None], axis=2)
        drawn.append(typical(first) / typical(second))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return typical(above) / typical(below), float(low), float(high)
