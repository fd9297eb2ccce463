"""The scout inside the engine, against the same model asked directly.

Two gateways are started as processes, each with one vLLM server of the same small model on a core of its
own: one server is plain, one has the probe. Half of the turns are measured with the cores the other way
round, because cores are not alike: one serves interrupts. Requests take turns in an order drawn anew each
time, so that whatever else the machine does, and whoever was asked before, meets all alike. The router is
fitted on outcomes drawn at random: only time is measured here, and fixed policies say who answers. Two
models of the ladder's kind, larger and with random weights, show what becomes of the ratios as models grow.
A bare relay in front of the plain server, asked in turn with the others, shows what any process between
client and server costs.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import aiohttp
import numpy as np

from eval.benchmarks.gateway.rig.processes import Process, free_port, python, running
from eval.benchmarks.gateway.rig.scouts import (
    LARGER,
    N_TOKENS,
    SERVED,
    prompts,
    write_larger,
    write_outcomes,
    write_pool,
)
from eval.benchmarks.gateway.rig.stand import Stand, run, serving
from eval.benchmarks.gateway.rig.timing import Timing, ask, computed, ratio, typical
from eval.benchmarks.row import Row, Setting
from eval.tables import Floats

TURNS = {"ladder-m": 160, "ladder-l": 160, "random-13m": 160, "random-80m": 40}
"""How often each model is asked in each way."""
CALLS = ("direct", "relayed", "chosen", "other", "prefill")
N_WARM = 5
"""Turns before those that count."""
N_LEARNT = 60
"""Queries before that which go elsewhere: the gateway learns that the scout is not wanted to answer them."""
FIRST_RATIO, DECODE_RATIO, MARGIN_S = 1.15, 0.97, 0.003


@dataclass(frozen=True)
class Turn:
    """One request of each of `CALLS`, and the prompt tokens computed for the one that the scout answers."""

    timings: Mapping[str, Timing]
    computed_tokens: float


def rows(setting: Setting) -> Iterator[Row]:
    """Prompt computed once, first token, decode speed; then the time that another one's answer waits."""
    if setting.quick:
        yield from _of("ladder-m", 10, setting)
        return
    for name, turns in TURNS.items():
        yield from _of(name, turns, setting)


def _of(name: str, turns: int, setting: Setting) -> list[Row]:
    """The rows of one model."""
    folder = setting.work / "gateway-engine" / name
    model = str(write_larger(folder).resolve()) if name in LARGER else name
    write_outcomes(folder / "outcomes")
    first, second = _cores()
    measured: list[list[Turn]] = []
    for seed, (mine, theirs) in enumerate(((first, second), (second, first))):
        plain_pool, router = write_pool(folder / "plain.yaml", model, mine, None), folder / "router"
        run("fit", str(plain_pool), str(folder / "outcomes"), "-o", str(router))
        with serving(plain_pool, router, "none", folder / "plain") as plain:
            pool = write_pool(folder / "engine.yaml", model, theirs, f"{plain.vllm}/v1")
            with (
                serving(pool, router, "engine", folder / "engine") as engine,
                _relay(plain.vllm, folder / "relay.log") as relay,
            ):
                measured.append(asyncio.run(_measure(plain, engine, relay.url, turns // 2, seed)))
    return [replace(row, what=f"{name} through the engine probe, {row.what}") for row in _rows(measured)]


def _relay(url: str, log: Path) -> AbstractContextManager[Process]:
    """The bare relay on any core, as the gateways are."""
    port, place = free_port(), Path(__file__).parent / "rig" / "relay.py"
    return running(python(place, port, url), port, log=log, cores=os.sched_getaffinity(0))


async def _measure(plain: Stand, engine: Stand, relay: str, n: int, seed: int) -> list[Turn]:
    turns = []
    texts, rng = prompts(N_LEARNT + len(CALLS) * (n + N_WARM), seed=2 + seed), Random(seed)
    async with aiohttp.ClientSession() as http:
        for _ in range(N_LEARNT):
            await ask(http, engine.gateway, "auto:elsewhere", next(texts), 1)
        for _ in range(n + N_WARM):
            asked = {name: next(texts) for name in rng.sample(CALLS, len(CALLS))}
            turns.append(await _turn(http, plain, engine, relay, asked))
    return turns[N_WARM:]


async def _turn(
    http: aiohttp.ClientSession, plain: Stand, engine: Stand, relay: str, asked: Mapping[str, str]
) -> Turn:
    """One of each, in the order in which their prompts are given."""
    ways = {
        "chosen": (engine.gateway, "auto:own", N_TOKENS),
        "other": (engine.gateway, "auto:elsewhere", 1),
        "direct": (plain.vllm, SERVED, N_TOKENS),
        "relayed": (relay, SERVED, N_TOKENS),
        "prefill": (engine.vllm, SERVED, 1),
    }
    timings, tokens = {}, 0.0
    for name, text in asked.items():
        url, named, n_tokens = ways[name]
        before = await computed(http, engine.vllm) if name == "chosen" else 0.0
        timings[name] = await ask(http, url, named, text, n_tokens)
        if name == "chosen":
            tokens = await computed(http, engine.vllm) - before
    return Turn(timings, tokens)


def _rows(halves: Sequence[Sequence[Turn]]) -> list[Row]:
    first = {
        name: np.array([[turn.timings[name].first_s for turn in half] for half in halves]) for name in CALLS
    }
    token = {
        name: np.array([[turn.timings[name].per_token_s for turn in half] for half in halves])
        for name in CALLS
    }
    turns = [turn for half in halves for turn in half]
    return [_once(turns), _first_token(first, turns), _decode(token), _another(first)]


def _once(turns: Sequence[Turn]) -> Row:
    asked = sum(turn.timings["chosen"].prompt_tokens for turn in turns)
    computed_tokens = sum(turn.computed_tokens for turn in turns)
    return Row(
        "scout chosen: prompt tokens computed for each prompt token asked",
        "1 (vLLM's own counters)",
        f"{computed_tokens / asked:.3f} ({computed_tokens:.0f} of {asked} tokens, {len(turns)} requests)",
        computed_tokens == asked,
    )


def _first_token(first_s: Mapping[str, Floats], turns: Sequence[Turn]) -> Row:
    ours, bare, floor = (first_s[name] for name in ("chosen", "direct", "relayed"))
    tokens = np.median([turn.timings["chosen"].prompt_tokens for turn in turns])
    return Row(
        "scout chosen: time to first token",
        f"<= {FIRST_RATIO} of a direct call",
        f"{_told(ours, bare)}: {_ms(ours)} against {_ms(bare)}, prompts of {tokens:.0f} tokens; a bare relay"
        f" {_told(floor, bare)}",
        ratio(ours, bare)[0] <= FIRST_RATIO,
    )


def _decode(token_s: Mapping[str, Floats]) -> Row:
    ours, bare, floor = (token_s[name] for name in ("chosen", "direct", "relayed"))
    return Row(
        "scout chosen: decode speed",
        f">= {DECODE_RATIO} of a direct call to a server without the probe",
        f"{_told(bare, ours)}: {_ms(ours)} a token against {_ms(bare)}; a bare relay {_told(bare, floor)}",
        ratio(bare, ours)[0] >= DECODE_RATIO,
    )


def _another(first_s: Mapping[str, Floats]) -> Row:
    ours, bare, scout = (first_s[name] for name in ("other", "direct", "prefill"))
    added_s, limit_s = typical(ours) - typical(bare), typical(scout) + MARGIN_S
    return Row(
        "another chosen: added time to first token",
        "<= one scout prefill + 3 ms",
        f"{1e3 * added_s:.1f} ms; one scout prefill and 3 ms are {1e3 * limit_s:.1f} ms "
        f"({_ms(ours)} against {_ms(bare)})",
        added_s <= limit_s,
    )


def _told(above: Floats, below: Floats) -> str:
    found, low, high = ratio(above, below)
    return f"{found:.2f} ({low:.2f} to {high:.2f})"


def _ms(seconds: Floats) -> str:
    return f"{1e3 * typical(seconds):.2f} ms"


def _cores() -> tuple[str, str]:
    """Each server computes on a core of its own, and only one of them at a time has anything to do."""
    every = sorted(os.sched_getaffinity(0))
    return str(every[0]), str(every[-1])
