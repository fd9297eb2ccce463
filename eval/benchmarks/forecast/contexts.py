"""The context law: its parameters from synthetic data, and the ladder's families of examples by length."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import numpy as np

from eval.benchmarks.forecast.answers import Exam, graded
from eval.benchmarks.forecast.models import ladder_runs
from eval.benchmarks.row import Row, Setting
from eval.ladder.questions import Question
from eval.ladder.questions.rules import lookup, rule
from eval.ladder.sizes import CONTEXT_TOKENS
from eval.pictures.forecast_plots import context_picture
from eval.pictures.plots import write_frontier
from eval.tables import Floats
from probes.forecast.context import ContextData, fit_law, law
from probes.forecast.lengths import LengthTrend, fit_trend

SHOTS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 60, 90)
"""Examples shown; the last two need more than the models' context."""
TRUTH = (0.3, 0.4, 0.7, 0.9)


def rows(setting: Setting) -> Iterator[Row]:
    """Recovery, and errors on lengths left out."""
    tokens, compute = np.meshgrid(np.geomspace(50, 9000, 12), np.geomspace(1e21, 1e25, 5))
    data = ContextData.build(
        tokens.ravel(), law(TRUTH, tokens, 8192, compute).ravel(), limit=8192, compute=compute.ravel()
    )
    found = fit_law(data, n_bootstrap=0)
    off = float(np.max(np.abs(np.array(found.parameters) / TRUTH - 1)))
    yield Row(
        "context: four parameters from noiseless data", "<= 1e-3", f"relative error {off:.1e}", off <= 1e-3
    )
    yield from _ladder(setting)


def _ladder(setting: Setting) -> Iterator[Row]:
    each = 10 if setting.quick else 150
    runs = ladder_runs(setting, least=1)
    miss, drawn = [], {}
    for run in runs[-1:] if setting.quick else runs:
        folder = list(run.folders.values())[-1]
        for name, family in (("rule", rule), ("lookup", lookup)):
            lengths, accuracy = by_shots(folder, name, family, each, setting)
            trend = fit_trend(lengths, accuracy, limit=CONTEXT_TOKENS, count=each)
            miss.append(min(trend.held_out_error.values(), default=float("nan")))
            drawn[f"{run.name} {name}"] = trend, lengths, accuracy
    if drawn:
        write_frontier(setting.work / "forecast" / "context.svg", context_picture(drawn))
    what = f"context: {len(SHOTS)} lengths, also beyond the limit; error on held-out lengths ({each} each)"
    if not miss:
        yield Row(what, "<= .015", "unmeasured: no ladder model", None)
        return
    mean = float(np.nanmean(miss))
    kinds = ", ".join(f"{name} {trend.kind}" for name, (trend, _, _) in drawn.items())
    noise = 0.4 / np.sqrt(each)
    measured = f"mean {mean:.3f} ({kinds}); sampling noise alone about {noise:.3f}"
    yield Row(what, "<= .015", measured, mean <= 0.015)


def by_shots(folder: object, name: str, family: object, each: int, setting: Setting) -> tuple[Floats, Floats]:
    """Mean prompt length in tokens and accuracy, for each number of examples; direct answers."""
    from pathlib import Path

    from transformers import AutoTokenizer

    place = Path(str(folder))
    tokenizer = AutoTokenizer.from_pretrained(place, local_files_only=True)
    lengths, accuracy = [], []
    for shots in SHOTS:
        rng = Random(f"{name}-{shots}")
        drafts = [family(rng, 0.5, shots) for _ in range(each)]  # type: ignore[operator]
        exam = Exam(tuple(Question(f"{name}-{i}", name, 0.5, *draft) for i, draft in enumerate(drafts)))
        ids = tokenizer([question.prompt for question in exam.questions])["input_ids"]
        size = float(np.mean([len(one) for one in ids]))
        lengths.append(size)
        if size > CONTEXT_TOKENS:
            accuracy.append(0.0)  # an engine refuses such prompts
            continue
        right = graded(place, exam, setting.work / "forecast" / "answers", modes=["direct"])[0]
        accuracy.append(float(right.mean()))
    return np.array(lengths), np.array(accuracy)


Trends = dict[str, tuple[LengthTrend, Floats, Floats]]
