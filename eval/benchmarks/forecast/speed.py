"""Foreseeing a checkpoint's accuracy against letting vLLM answer every question k times, in one run."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from eval.benchmarks.forecast.material.answers import PER_FAMILY, TEACH_PER_FAMILY, Exam, graded, kwargs
from eval.benchmarks.forecast.material.models import ladder_runs
from eval.benchmarks.gateway.rig.stand import Stand, run, serving
from eval.benchmarks.row import Row, Setting
from eval.grading.graders import exact
from eval.ladder.questions import Question
from eval.ladder.sizes import CONTEXT_TOKENS
from eval.outcomes import Outcomes
from eval.queries import Queries
from eval.tables import Floats
from probes.errors import BackendError
from probes.forecast.checkpoint.powered import canary, set_accuracy
from probes.forecast.checkpoint.states import read_folder
from probes.forecast.checkpoint.transfer import fit_probe

MODEL, MODE = "ladder-m", "think"
SAMPLES = 5
TEMPERATURE = 0.7
CANARY = 100
AT_ONCE = 64
MOST_TOKENS = 128
_TITLE = f"checkpoint: time of a forecast against vLLM's {SAMPLES} answers a question ({MODEL}, {MODE})"
_REACH = ">= 20x, error <= .03"


@dataclass(frozen=True, eq=False)
class Generated:
    """What generating gave: success rates [n] and the seconds that it took."""

    rate: Floats
    seconds: float


def rows(setting: Setting) -> Iterator[Row]:
    """Both ways on the same processor core, one after the other."""
    found = [series for series in ladder_runs(setting) if series.name == MODEL]
    if setting.quick or not found:
        yield Row(_TITLE, _REACH, "unmeasured in --quick, or no checkpoints", None)
        return
    *_, before, last = found[0].folders.values()
    exam, teach = Exam.draw(PER_FAMILY), Exam.draw(TEACH_PER_FAMILY, split="fit")
    learnt = graded(before, teach, setting.work / "forecast" / "answers", modes=[MODE])[0]
    read = read_folder(before, teach.conversations(), template_kwargs=kwargs(MODE))
    probe = fit_probe(read, learnt, ladder=("layers",))
    try:
        with _server(setting, teach, learnt) as stand:
            url = stand.vllm
            asyncio.run(_ask(url, exam.questions[:AT_ONCE], 1))  # warms up
            started = time.perf_counter()
            states = read_folder(last, exam.conversations(), template_kwargs=kwargs(MODE))
            forecast = probe.predict(states)
            reading_s = time.perf_counter() - started
            rows = canary(forecast, CANARY, seed=0)
            few = asyncio.run(_ask(url, [exam.questions[i] for i in rows], 1))
            everything = asyncio.run(_ask(url, exam.questions, SAMPLES))
    except BackendError as error:
        yield Row(_TITLE, _REACH, f"unmeasured: {error}", None)
        return
    yield _row(forecast, rows, few, everything, reading_s)


def _row(forecast: Floats, rows: Any, few: Generated, everything: Generated, reading_s: float) -> Row:
    value = set_accuracy(forecast, rows, few.rate).value
    truth = float(everything.rate.mean())
    bare, whole = everything.seconds / reading_s, everything.seconds / (reading_s + few.seconds)
    measured = (
        f"{bare:.0f}x without a canary, {whole:.1f}x with it: {everything.seconds:.1f} s for"
        f" {len(forecast)} x {SAMPLES} answers, {reading_s:.2f} s to read them, {few.seconds:.2f} s for"
        f" {CANARY} graded ones; accuracy {truth:.3f}, foreseen {value:.3f} with the canary,"
        f" {forecast.mean():.3f} without"
    )
    return Row(_TITLE, _REACH, measured, whole >= 20 and abs(value - truth) <= 0.03)


def _server(setting: Setting, teach: Exam, learnt: Floats) -> AbstractContextManager[Stand]:
    """A vLLM server of the model, as `foresight serve` starts it, as a context."""
    folder = setting.work / "forecast" / "vllm"
    outcomes, pool, router = folder / "outcomes", folder / "pool.yaml", folder / "router"
    queries = Queries.build([question.prompt for question in teach.questions])
    sizes = np.full((len(teach), 1), 60.0)
    table = Outcomes.build(queries, [MODEL], learnt[:, None], input_tokens=sizes, output_tokens=sizes)
    table.save(outcomes)
    _write_pool(pool)
    run("fit", str(pool), str(outcomes), "-o", str(router))
    return serving(pool, router, "none", folder / "logs")


def _write_pool(path: Path) -> None:
    core = str(sorted(os.sched_getaffinity(0))[0])
    backend = {"kind": "vllm", "model_path": MODEL, "max_model_len": CONTEXT_TOKENS, "cores": core}
    candidate = {"name": MODEL, "model": MODEL, "backend": "own", "context_tokens": CONTEXT_TOKENS}
    price = {"usd_per_mtok_in": 0.1, "usd_per_mtok_out": 0.4}
    pool = {
        "candidates": [candidate | {"price": price}],
        "backends": {"own": backend | {"max_num_seqs": AT_ONCE}},
        "scout": {"model": MODEL},
        "policy": {"rule": "fixed", "candidate": MODEL},
    }
    path.write_text(json.dumps(pool, indent=2), encoding="utf-8")  # JSON is YAML


async def _ask(url: str, questions: Sequence[Question], samples: int) -> Generated:
    """Every question's success rate over `samples` answers, `AT_ONCE` requests at a time."""
    gate = asyncio.Semaphore(AT_ONCE)
    timeout = aiohttp.ClientTimeout(total=3600)
    started = time.perf_counter()
    async with aiohttp.ClientSession(timeout=timeout) as http:
        rate = await asyncio.gather(*(_answer(http, gate, url, q, samples) for q in questions))
    return Generated(np.array(rate), time.perf_counter() - started)


async def _answer(
    http: aiohttp.ClientSession, gate: asyncio.Semaphore, url: str, question: Question, samples: int
) -> float:
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": question.prompt}],
        "n": samples,
        "temperature": TEMPERATURE,
        "max_tokens": MOST_TOKENS,
        "chat_template_kwargs": kwargs(MODE),
    }
    async with gate, http.post(f"{url}/v1/chat/completions", json=body) as response:
        found = await response.json()
        if response.status != 200:
            raise BackendError(f"vLLM answered {response.status}: {found}")
    texts = [choice["message"]["content"] or "" for choice in found["choices"]]
    return float(np.mean([exact(text, question.answer) for text in texts]))
