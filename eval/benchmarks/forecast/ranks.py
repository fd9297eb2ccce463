"""An order of small models from experts' solutions, against cross-entropy on text and on the solutions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from eval.benchmarks.forecast.material.answers import PER_FAMILY, Exam, graded
from eval.benchmarks.forecast.material.mixtures import SHORT, SHORT_MIXTURES, mixture_runs
from eval.benchmarks.forecast.material.models import ladder_runs
from eval.benchmarks.forecast.material.readings import CROSS_ENTROPY, TASKS, read
from eval.benchmarks.row import Row, Setting
from eval.metrics.bootstrap import interval
from eval.pictures.forecast_plots import rank_picture
from eval.pictures.plots import write_frontier
from eval.tables import Floats
from probes.forecast.rank.ranking import leave_tasks_out
from probes.metrics import spearman

LEAST_SHARE = 0.1
"""Checkpoints before it answer nothing: there is no order to foresee."""
_TITLE = "rank: Spearman by task, its family left out"
_REACH = ">= .85; above text's cross-entropy, the interval without 0; not below the solutions'"
N_DRAWS = 2000


def rows(setting: Setting) -> Iterator[Row]:
    """Spearman with families left out."""
    if setting.quick:
        yield Row(_TITLE, _REACH, "unmeasured in --quick: trains models", None)
        return
    short = mixture_runs(setting, SHORT, names=SHORT_MIXTURES)
    pool = {run.name: run.folders[1.0] for run in short}
    for series in ladder_runs(setting, least=1):
        pool |= {f"{series.name}@{s:.2g}": f for s, f in series.folders.items() if s >= LEAST_SHARE}
    yield _spearman(pool, setting)


def measure(pool: Mapping[str, Path], setting: Setting) -> tuple[Floats, Floats, Floats]:
    """Proxies [tasks, models, 80], accuracies [tasks, models] and cross-entropy on text [models]."""
    exam, kept = Exam.draw(PER_FAMILY), setting.work / "forecast" / "answers"
    found = [read(folder, setting) for folder in pool.values()]
    marks = [exam.by_task(graded(folder, exam, kept)) for folder in pool.values()]
    table = np.array([[one.proxies[task] for one in found] for task in TASKS])
    accuracy = np.array([[one[task] for one in marks] for task in TASKS])
    return table, accuracy, np.array([one.text_nats for one in found])


def _spearman(pool: Mapping[str, Path], setting: Setting) -> Row:
    table, accuracy, text = measure(pool, setting)
    families = [task.partition("/")[0] for task in TASKS]
    ways = {
        "linear": leave_tasks_out(table, accuracy, families),
        "sparse": leave_tasks_out(table, accuracy, families, method="sparse"),
        "single": leave_tasks_out(table, accuracy, families, method="single"),
        "solutions": -table[:, :, CROSS_ENTROPY],
        "text": np.tile(-text, (len(TASKS), 1)),
    }
    by_task = {name: _each(scores, accuracy) for name, scores in ways.items()}
    mean = {name: float(np.nanmean(values)) for name, values in by_task.items()}
    picture = rank_picture(ways["linear"].mean(axis=0), accuracy.mean(axis=0), list(pool))
    write_frontier(setting.work / "forecast" / "rank.svg", picture)
    over_text = _lead(by_task["linear"] - by_task["text"], families)
    over_solutions = _lead(by_task["linear"] - by_task["solutions"], families)
    told = int((~np.isnan(by_task["linear"])).sum())
    measured = (
        f"{mean['linear']:.3f} (RankSVM), {mean['sparse']:.3f} (three proxies), {mean['single']:.3f} (one);"
        f" cross-entropy on training text {mean['text']:.3f}, on the solutions {mean['solutions']:.3f};"
        f" lead over text {_told(over_text)}, over the solutions' {_told(over_solutions)}; {len(pool)}"
        f" models, {told} of {len(TASKS)} tasks tell them apart"
    )
    met = mean["linear"] >= 0.85 and over_text[1] > 0 and mean["linear"] >= mean["solutions"]
    return Row(_TITLE, _REACH, measured, met)


def _each(scores: Floats, accuracy: Floats) -> Floats:
    """Rank correlation in each task [tasks]; NaN where all models do alike."""
    return np.array([spearman(s, a) for s, a in zip(scores, accuracy, strict=True)])


def _lead(difference: Floats, families: Sequence[str]) -> tuple[float, float, float]:
    """Mean difference with its interval; families are drawn, with both of their tasks."""
    names = np.array(families)
    by_family = [difference[names == name] for name in dict.fromkeys(families)]
    rng = np.random.default_rng(0)
    draws = [
        float(np.nanmean(np.concatenate([by_family[i] for i in rng.integers(len(by_family), size=16)])))
        for _ in range(N_DRAWS)
    ]
    low, high = interval(np.array(draws))
    return float(np.nanmean(difference)), float(low), float(high)


def _told(lead: tuple[float, float, float]) -> str:
    return f"{lead[0]:+.3f} [{lead[1]:+.3f}, {lead[2]:+.3f}]"
