"""Foreseeing a checkpoint's accuracy against letting vLLM answer every question k times, in one run."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np
import numpy.typing as npt

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
from probes.forecast.checkpoint.powered import canary_of_tasks, set_accuracy
from probes.forecast.checkpoint.states import read_folder
from probes.forecast.checkpoint.transfer import CheckpointProbe, fit_probe

MODEL, MODE = "ladder-m", "think"
SAMPLES = 5
TEMPERATURE = 0.7
CANARY = 100
N_CANARIES = 200
"""Canaries drawn anew from what was generated: how far one is off by chance."""
AT_ONCE = 64
MOST_TOKENS = 128
SMALL = 60
"""Questions a family of the smaller set that is timed too."""
_TITLE = f"checkpoint: time of a forecast against vLLM's {SAMPLES} answers a question ({MODEL}, {MODE})"
_REACH = ">= 20x, error <= .03"


@dataclass(frozen=True, eq=False)
class Generated:
    """What generating gave: success rates [n] and the seconds that it took."""

    rate: Floats
    seconds: float


@dataclass(frozen=True, eq=False)
class Timed:
    """Both ways on the same questions.

    Attributes
    ----------
    forecast : ndarray of shape (n,)
        Success foreseen.
    rows : ndarray of shape (CANARY,)
        Questions of the canary.
    few, everything : Generated
        One answer to each of them; `SAMPLES` answers to all.
    seconds : float
        The whole forecast, its canary included.
    """

    forecast: Floats
    rows: npt.NDArray[np.intp]
    few: Generated
    everything: Generated
    seconds: float

    @property
    def ratio(self) -> float:
        """How many times as long generating takes."""
        return self.everything.seconds / self.seconds

    @property
    def value(self) -> float:
        """Accuracy foreseen, with the canary."""
        return set_accuracy(self.forecast, self.rows, self.few.rate).value

    @property
    def truth(self) -> float:
        """Mean success."""
        return float(self.everything.rate.mean())

    def expected_error(self, families: Sequence[str]) -> float:
        """Mean absolute error over canaries, each graded question one of its answers by chance."""
        missed = []
        for seed in range(N_CANARIES):
            rows = canary_of_tasks(families, CANARY, seed=seed)
            grades = np.random.default_rng(seed).random(CANARY) < self.everything.rate[rows]
            missed.append(abs(set_accuracy(self.forecast, rows, grades).value - self.truth))
        return float(np.mean(missed))


def rows(setting: Setting) -> Iterator[Row]:
    """Both ways on the same cores, one after the other."""
    found = [series for series in ladder_runs(setting) if series.name == MODEL]
    if setting.quick or not found:
        yield Row(_TITLE, _REACH, "unmeasured in --quick, or no checkpoints", None)
        return
    *_, before, last = found[0].folders.values()
    teach = Exam.draw(TEACH_PER_FAMILY, split="fit")
    learnt = graded(before, teach, setting.work / "forecast" / "answers", modes=[MODE])[0]
    read = read_folder(before, teach.conversations(), template_kwargs=kwargs(MODE))
    probe = fit_probe(read, learnt)
    small, whole = Exam.draw(SMALL), Exam.draw(PER_FAMILY)
    try:
        with _server(setting, teach, learnt) as stand:
            asyncio.run(_ask(stand.vllm, teach.questions[:AT_ONCE], SAMPLES))  # warms up
            timed = [_timed(stand.vllm, last, exam, probe) for exam in (small, whole)]
    except BackendError as error:
        yield Row(_TITLE, _REACH, f"unmeasured: {error}", None)
        return
    yield _row(timed[0], timed[1], whole.families)


def _timed(url: str, folder: Path, exam: Exam, probe: CheckpointProbe) -> Timed:
    """The canary, spread over the families, is answered while the prompts are read."""
    started = time.perf_counter()
    rows = canary_of_tasks(exam.families, CANARY)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(asyncio.run, _ask(url, [exam.questions[i] for i in rows], 1))
        states = read_folder(folder, exam.conversations(), template_kwargs=kwargs(MODE))
        forecast = probe.predict(states)
        few = asked.result()
    set_accuracy(forecast, rows, few.rate)
    seconds = time.perf_counter() - started
    return Timed(forecast, rows, few, asyncio.run(_ask(url, exam.questions, SAMPLES)), seconds)


def _row(small: Timed, whole: Timed, families: Sequence[str]) -> Row:
    error = whole.expected_error(families)
    measured = (
        f"{whole.ratio:.1f}x, canary of {CANARY} included: {whole.everything.seconds:.1f} s for"
        f" {len(whole.forecast)} x {SAMPLES} answers, {whole.seconds:.2f} s to read them while vLLM answers"
        f" the canary; {small.ratio:.1f}x for {len(small.forecast)} questions"
        f" ({small.everything.seconds:.1f} s, {small.seconds:.2f} s); accuracy {whole.truth:.3f}, foreseen"
        f" {whole.value:.3f} ({whole.forecast.mean():.3f} without a canary); error {error:.3f} on average"
        f" over {N_CANARIES} canaries; {len(os.sched_getaffinity(0))} cores"
    )
    return Row(_TITLE, _REACH, measured, whole.ratio >= 20 and error <= 0.03)


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
