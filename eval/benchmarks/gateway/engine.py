"""The scout inside the engine, against the same model asked directly.

Two gateways are started as processes, each with one vLLM server of the same small model on a core of its
own: one server is plain, one has the probe. Half of the turns are measured with the cores the other way
round, because cores are not alike: one serves interrupts. Requests take turns in an order drawn anew each
time, so that whatever else the machine does, and whoever was asked before, meets all alike. The router is
fitted on outcomes drawn at random: only time is measured here, and fixed policies say who answers. A third
model, of the ladder's kind but larger and with random weights, shows what becomes of the ratios as models
grow.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import numpy as np

from eval.benchmarks.gateway.rig.stand import Stand, run, serving
from eval.benchmarks.row import Row, Setting
from eval.ladder.questions import stream
from probes.errors import BackendError
from router.configuration.paths import packaged_folder

MODELS = ("ladder-m", "ladder-l")
LARGER, LARGER_TURNS = "random-13m", 60
"""A model that says nothing sensible, and how often it is asked."""
SIZES = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6, "num_attention_heads": 12}
SERVED = "scout"
"""Name of the model at every server."""
CALLS = ("direct", "chosen", "other", "prefill")
N_WARM = 5
"""Turns before those that count."""
N_LEARNT = 60
"""Queries before that which go elsewhere: the gateway learns that the scout is not wanted to answer them."""
N_FIT, N_TOKENS, MAX_TOKENS = 160, 32, 512
QUESTIONS_PER_PROMPT = 12
DRAWS = 2000
FIRST_RATIO, DECODE_RATIO, MARGIN_S = 1.15, 0.97, 0.003


@dataclass(frozen=True)
class Timing:
    """One streamed answer: seconds to its first text, seconds a token after that, and the prompt's tokens."""

    first_s: float
    per_token_s: float
    prompt_tokens: int


@dataclass(frozen=True)
class Turn:
    """One request of each of `CALLS`, and the prompt tokens computed for the one that the scout answers."""

    timings: Mapping[str, Timing]
    computed_tokens: float


def rows(setting: Setting) -> Iterator[Row]:
    """Prompt computed once, first token, decode speed; then the time that another one's answer waits."""
    if setting.quick:
        yield from _of(MODELS[0], MODELS[0], 10, setting)
        return
    for model in MODELS:
        yield from _of(model, model, 120, setting)
    larger = _write_larger(setting.work / "gateway-engine" / LARGER).resolve()
    yield from _of(LARGER, str(larger), LARGER_TURNS, setting)


def _of(name: str, model: str, turns: int, setting: Setting) -> list[Row]:
    """The rows of one model, by its name or folder."""
    folder = setting.work / "gateway-engine" / name
    _write_outcomes(folder / "outcomes")
    first, second = _cores()
    measured: list[Turn] = []
    for seed, (mine, theirs) in enumerate(((first, second), (second, first))):
        plain_pool, router = _write_pool(folder / "plain.yaml", model, mine, None), folder / "router"
        run("fit", str(plain_pool), str(folder / "outcomes"), "-o", str(router))
        with serving(plain_pool, router, "none", folder / "plain") as plain:
            pool = _write_pool(folder / "engine.yaml", model, theirs, f"{plain.vllm}/v1")
            with serving(pool, router, "engine", folder / "engine") as engine:
                measured += asyncio.run(_measure(plain, engine, turns // 2, seed))
    return [replace(row, what=f"{name} through the engine probe, {row.what}") for row in _rows(measured)]


async def _measure(plain: Stand, engine: Stand, n: int, seed: int) -> list[Turn]:
    turns = []
    texts, rng = prompts(N_LEARNT + len(CALLS) * (n + N_WARM), seed=2 + seed), Random(seed)
    async with aiohttp.ClientSession() as http:
        for _ in range(N_LEARNT):
            await ask(http, engine.gateway, "auto:elsewhere", next(texts), 1)
        for _ in range(n + N_WARM):
            asked = {name: next(texts) for name in rng.sample(CALLS, len(CALLS))}
            turns.append(await _turn(http, plain, engine, asked))
    return turns[N_WARM:]


async def _turn(http: aiohttp.ClientSession, plain: Stand, engine: Stand, asked: Mapping[str, str]) -> Turn:
    """One of each, in the order in which their prompts are given."""
    ways = {
        "chosen": (engine.gateway, "auto:own", N_TOKENS),
        "other": (engine.gateway, "auto:elsewhere", N_TOKENS),
        "direct": (plain.vllm, SERVED, N_TOKENS),
        "prefill": (engine.vllm, SERVED, 1),
    }
    timings, tokens = {}, 0.0
    for name, text in asked.items():
        url, named, n_tokens = ways[name]
        before = await computed(http, engine) if name == "chosen" else 0.0
        timings[name] = await ask(http, url, named, text, n_tokens)
        if name == "chosen":
            tokens = await computed(http, engine) - before
    return Turn(timings, tokens)


def _rows(turns: Sequence[Turn]) -> list[Row]:
    direct, chosen, other, prefill = ([turn.timings[name] for turn in turns] for name in CALLS)
    return [
        _once(chosen, [turn.computed_tokens for turn in turns]),
        _first_token(direct, chosen),
        _decode(direct, chosen),
        _another(direct, other, prefill),
    ]


def _once(timings: Sequence[Timing], computed_tokens: Sequence[float]) -> Row:
    asked = sum(timing.prompt_tokens for timing in timings)
    times = sum(computed_tokens) / asked
    return Row(
        "scout chosen: prompt tokens computed for each prompt token asked",
        "1 (vLLM's own counters)",
        f"{times:.3f} ({sum(computed_tokens):.0f} of {asked} tokens, {len(timings)} requests)",
        times == 1,
    )


def _first_token(direct: Sequence[Timing], routed: Sequence[Timing]) -> Row:
    ours, bare = ([t.first_s for t in timings] for timings in (routed, direct))
    ratio, low, high = ratio_of_medians(ours, bare)
    return Row(
        "scout chosen: time to first token",
        f"<= {FIRST_RATIO} of a direct call",
        f"{ratio:.2f} ({low:.2f} to {high:.2f}): {_ms(ours)} against {_ms(bare)}, "
        f"prompts of {_median([t.prompt_tokens for t in routed]):.0f} tokens",
        ratio <= FIRST_RATIO,
    )


def _decode(direct: Sequence[Timing], routed: Sequence[Timing]) -> Row:
    ours, bare = ([t.per_token_s for t in timings] for timings in (routed, direct))
    ratio, low, high = ratio_of_medians(bare, ours)
    return Row(
        "scout chosen: decode speed",
        f">= {DECODE_RATIO} of a direct call to a server without the probe",
        f"{ratio:.2f} ({low:.2f} to {high:.2f}): {_ms(ours)} a token against {_ms(bare)}",
        ratio >= DECODE_RATIO,
    )


def _another(direct: Sequence[Timing], routed: Sequence[Timing], prefill: Sequence[Timing]) -> Row:
    ours, bare, scout = ([t.first_s for t in timings] for timings in (routed, direct, prefill))
    added_s, limit_s = _median(ours) - _median(bare), _median(scout) + MARGIN_S
    return Row(
        "another chosen: added time to first token",
        "<= one scout prefill + 3 ms",
        f"{1e3 * added_s:.1f} ms; one scout prefill and 3 ms are {1e3 * limit_s:.1f} ms "
        f"({_ms(ours)} against {_ms(bare)})",
        added_s <= limit_s,
    )


def ratio_of_medians(above: Sequence[float], below: Sequence[float]) -> tuple[float, float, float]:
    """median(above) / median(below), with a 95 % bootstrap interval; the two were measured in turn."""
    pairs = np.array([above, below])
    rng = np.random.default_rng(0)
    drawn = pairs[:, rng.integers(0, pairs.shape[1], (DRAWS, pairs.shape[1]))]
    ratios = np.median(drawn[0], axis=1) / np.median(drawn[1], axis=1)
    low, high = np.quantile(ratios, (0.025, 0.975))
    return _median(above) / _median(below), float(low), float(high)


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))


def _ms(seconds: Sequence[float]) -> str:
    return f"{1e3 * _median(seconds):.2f} ms"


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


async def computed(http: aiohttp.ClientSession, stand: Stand) -> float:
    """Prompt tokens that a vLLM server has computed so far: all that were asked, less those in its cache."""
    async with http.get(f"{stand.vllm}/metrics") as response:
        lines = (await response.text()).splitlines()

    def counter(name: str) -> float:
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"vllm:{name}{{"))

    return counter("prompt_tokens_total") - counter("prefix_cache_hits_total")


def prompts(n: int, seed: int = 0) -> Iterator[str]:
    """Texts of several questions each; no two begin alike, so that no prompt is in a server's cache."""
    questions, rng = stream(seed, "test"), Random(seed)
    for number in range(n):
        drawn = [next(questions).prompt for _ in range(QUESTIONS_PER_PROMPT)]
        yield f"{rng.randrange(10**6)} {number}. " + " ".join(drawn)


def _write_outcomes(folder: Path) -> None:
    """Outcomes at random: enough to fit a router whose choices nobody looks at."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    with (folder / "queries.jsonl").open("w", encoding="utf-8") as file:
        for number, text in enumerate(prompts(N_FIT, seed=1)):
            file.write(json.dumps({"query_id": f"q{number}", "prompt": text}) + "\n")
    with (folder / "outcomes.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["query_id", "model", "correct", "input_tokens", "output_tokens"])
        for number in range(N_FIT):
            for name in ("own", "elsewhere"):
                writer.writerow([f"q{number}", name, int(rng.integers(2)), 200, N_TOKENS])


def _write_pool(path: Path, model: str, core: str, elsewhere: str | None) -> Path:
    """The same two candidates, the model on a core; `elsewhere` has a server of its own once there is one."""
    own = {"kind": "vllm", "model_path": model, "max_model_len": MAX_TOKENS, "cores": core}
    backends: dict[str, Any] = {"own": own}
    if elsewhere is not None:
        backends["elsewhere"] = {"kind": "openai", "url": elsewhere}
    candidates = [
        {
            "name": name,
            "model": SERVED,
            "backend": name if name in backends else "own",
            "price": {"usd_per_mtok_in": usd, "usd_per_mtok_out": usd},
            "context_tokens": MAX_TOKENS,
        }
        for name, usd in (("own", 0.1), ("elsewhere", 1.0))
    ]
    policies = {name: {"rule": "fixed", "candidate": name} for name in ("own", "elsewhere")}
    scout = {"model": model, "kind": "value", "fallback": "none"}
    pool = {"candidates": candidates, "backends": backends, "scout": scout, "policies": policies}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(pool, indent=2), encoding="utf-8")  # JSON is YAML
    return path


def _write_larger(folder: Path) -> Path:
    """A folder with a model of 13 million random weights and the ladder's tokeniser."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    if not (folder / "model.safetensors").is_file():
        like = packaged_folder(MODELS[-1])
        config = AutoConfig.from_pretrained(like, local_files_only=True, **SIZES)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        AutoTokenizer.from_pretrained(like, local_files_only=True).save_pretrained(folder)
    return folder


def _cores() -> tuple[str, str]:
    """Each server computes on a core of its own, and only one of them at a time has anything to do."""
    every = sorted(os.sched_getaffinity(0))
    return str(every[0]), str(every[-1])
