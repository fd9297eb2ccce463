"""The context law: its parameters from synthetic data, and the ladder's families of examples by length."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np

from eval.benchmarks.forecast.material.answers import Exam, graded
from eval.benchmarks.forecast.material.models import ladder_runs
from eval.benchmarks.row import Row, Setting
from eval.ladder.questions import Draft, Question
from eval.ladder.questions.rules import lookup, rule
from eval.ladder.sizes import CONTEXT_TOKENS
from eval.pictures.forecast_plots import context_picture
from eval.pictures.plots import write_frontier
from eval.tables import Floats
from probes.forecast.trend.context import ContextData, fit_law, law
from probes.forecast.trend.lengths import CHOSEN, fit_trend

TAUGHT = tuple(range(1, 13))
"""Numbers of examples shown that models are taught."""
BEYOND = {"rule": (95, 100), "lookup": (130, 135)}
"""Numbers of examples that need more than the models' context, by family."""
UNTAUGHT = (16, 24, 36, 60)
"""Numbers of examples that fit into the context, but are more than any model was taught."""
EACH, EACH_QUICK, EACH_UNTAUGHT = 6000, 40, 300
"""Questions of each length: drawing them leaves an error of .003 on average."""
RUNGS = ("ladder-s", "ladder-m")
"""The largest rung would take several times as long as both."""
FIRST = 1 / 12
"""Share of the longest prompt below which the second fit sees lengths."""
FAMILIES: Mapping[str, Callable[[Random, float, int], Draft]] = {"rule": rule, "lookup": lookup}
TRUTH = (0.3, 0.4, 0.7, 0.9)


@dataclass(frozen=True, eq=False)
class Lengths:
    """One model on one family: mean prompt length in tokens and accuracy of each number of examples."""

    name: str
    tokens: Floats
    accuracy: Floats


def rows(setting: Setting) -> Iterator[Row]:
    """Recovery, and errors on lengths left out and on longer ones."""
    tokens, compute = np.meshgrid(np.geomspace(50, 9000, 12), np.geomspace(1e21, 1e25, 5))
    data = ContextData.build(
        tokens.ravel(), law(TRUTH, tokens, 8192, compute).ravel(), limit=8192, compute=compute.ravel()
    )
    found = fit_law(data, n_bootstrap=0)
    off = float(np.max(np.abs(np.array(found.parameters) / TRUTH - 1)))
    yield Row(
        "context: four parameters from noiseless data", "<= 1e-3", f"relative error {off:.1e}", off <= 1e-3
    )
    runs = [run for run in ladder_runs(setting, least=1) if run.name in RUNGS]
    runs = runs[:1] if setting.quick else runs
    last = {run.name: list(run.folders.values())[-1] for run in runs}
    if not last:
        yield Row("context: error on held-out lengths", "<= .015", "unmeasured: no ladder model", None)
        return
    read = [
        by_shots(folder, f"{run} {name}", (*TAUGHT, *BEYOND[name]), _each(setting), setting)
        for run, folder in last.items()
        for name in FAMILIES
    ]
    yield _held_out(read, setting)
    yield _longer(read, setting)
    if not setting.quick:
        more = [
            by_shots(folder, f"{run} {name}", UNTAUGHT, EACH_UNTAUGHT, setting)
            for run, folder in last.items()
            for name in FAMILIES
        ]
        yield _untaught(read, more)


def _held_out(read: Sequence[Lengths], setting: Setting) -> Row:
    each = _each(setting)
    trends = {one.name: fit_trend(one.tokens, one.accuracy, limit=CONTEXT_TOKENS, count=each) for one in read}
    drawn = {one.name: (trends[one.name], one.tokens, one.accuracy) for one in read}
    write_frontier(setting.work / "forecast" / "context.svg", context_picture(drawn))
    errors = [trend.held_out_error[CHOSEN] for trend in trends.values()]
    always = [trend.held_out_error["law"] for trend in trends.values()]
    kinds = ", ".join(f"{name} {trend.kind}" for name, trend in trends.items())
    noise = np.mean([_noise(one.accuracy, each) for one in read])
    measured = (
        f"mean {np.mean(errors):.4f}, from {min(errors):.4f} to {max(errors):.4f} (the law everywhere"
        f" {np.mean(always):.4f}; {kinds}); drawing {each} answers a length alone gives {noise:.4f}"
    )
    what = f"context: {len(read[0].tokens)} lengths, also beyond the limit; error on lengths held out"
    return Row(what, "<= .015", measured, bool(np.mean(errors) <= 0.015))


def _longer(read: Sequence[Lengths], setting: Setting) -> Row:
    """The law fitted to short prompts, judged on all longer ones."""
    within, beyond, flat, n = [], [], [], 0
    for one in read:
        short = one.tokens < FIRST * one.tokens.max()
        data = ContextData.build(
            one.tokens[short], one.accuracy[short], limit=CONTEXT_TOKENS, count=_each(setting)
        )
        n = int(short.sum())
        found = fit_law(data, n_bootstrap=0).predict(one.tokens[~short], limit=CONTEXT_TOKENS)
        miss = np.abs(found - one.accuracy[~short])
        fits = one.tokens[~short] <= CONTEXT_TOKENS
        beyond += [float(miss.mean())]
        within += [float(miss[fits].mean())]
        flat += [float(np.abs(one.accuracy[short][-1] - one.accuracy[~short][fits]).mean())]
    measured = (
        f"mean {np.mean(beyond):.4f}; without the lengths beyond the limit {np.mean(within):.4f}"
        f" (the last short length's accuracy unchanged: {np.mean(flat):.4f}); about {n} lengths fitted"
    )
    what = f"context: fitted below 1/12 of the longest ({len(read)} models and families), predicted beyond"
    return Row(what, "<= .03", measured, bool(np.mean(beyond) <= 0.03))


def _untaught(read: Sequence[Lengths], more: Sequence[Lengths]) -> Row:
    """How far the law is off where models were never taught such lengths."""
    miss = []
    for known, far in zip(read, more, strict=True):
        data = ContextData.build(known.tokens, known.accuracy, limit=CONTEXT_TOKENS)
        miss.append(fit_law(data, n_bootstrap=0).predict(far.tokens, limit=CONTEXT_TOKENS) - far.accuracy)
    measured = f"off by {np.mean(miss):+.3f} on average, {np.abs(miss).mean():.3f} absolutely"
    shots = ", ".join(map(str, UNTAUGHT))
    return Row(f"context: lengths that fit but were never taught ({shots} examples)", "none", measured, None)


def by_shots(folder: Path, name: str, shots: Sequence[int], each: int, setting: Setting) -> Lengths:
    """Mean prompt length in tokens and accuracy of `each` direct answers, for each number of examples."""
    from transformers import AutoTokenizer

    family = name.split()[-1]
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    lengths, accuracy = [], []
    for number in shots:
        rng = Random(f"{family}-{number}")
        drafts = [FAMILIES[family](rng, 0.5, number) for _ in range(each)]
        exam = Exam(tuple(Question(f"{family}-{i}", family, 0.5, *d) for i, d in enumerate(drafts)))
        ids = tokenizer([question.prompt for question in exam.questions])["input_ids"]
        size = float(np.mean([len(one) for one in ids]))
        lengths.append(size)
        if size > CONTEXT_TOKENS:
            accuracy.append(0.0)  # an engine refuses such prompts
            continue
        right = graded(folder, exam, setting.work / "forecast" / "answers", modes=["direct"])[0]
        accuracy.append(float(right.mean()))
    return Lengths(name, np.array(lengths), np.array(accuracy))


def _each(setting: Setting) -> int:
    return EACH_QUICK if setting.quick else EACH


def _noise(accuracy: Floats, each: int) -> float:
    """Mean absolute error of a share of `each` draws."""
    return float(np.mean(np.sqrt(2 / np.pi * accuracy * (1 - accuracy) / each)))
