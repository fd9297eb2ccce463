"""An order of small models from experts' solutions, and which training mixture is the better one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from eval.benchmarks.forecast.answers import Exam, graded
from eval.benchmarks.forecast.models import ladder_runs
from eval.benchmarks.row import Row, Setting
from eval.pictures.forecast_plots import rank_picture
from eval.pictures.plots import write_frontier
from eval.tables import Floats
from probes.forecast.proxies import PROXIES
from probes.forecast.ranking import leave_tasks_out, mean_spearman, pairs_right, standardised
from probes.forecast.teacher import Teacher

LEAST_SHARE = 0.1
BASELINE = PROXIES.index("nll/uniform")


def rows(setting: Setting) -> Iterator[Row]:
    """Spearman with tasks left out, and decisions between mixtures."""
    if setting.quick:
        yield Row("rank: Spearman, tasks left out", ">= .85", "unmeasured in --quick: trains models", None)
        return
    from eval.benchmarks.forecast.mixtures import SMALL, TARGET, TINY, train_missing

    folder = setting.work / "forecast" / "mixtures"
    targets, small, tiny = (train_missing(folder, size) for size in (TARGET, SMALL, TINY))
    exam = Exam.draw(15)
    pool = {run.name: run.folders[1.0] for run in targets}
    for series in ladder_runs(setting, least=1):
        pool |= {f"{series.name}@{s:g}": f for s, f in series.folders.items() if s >= LEAST_SHARE}
    table, accuracy = measure(pool, exam, setting)
    yield _spearman(table, accuracy, list(pool), exam, setting)
    truth = accuracy[:, : len(targets)].mean(axis=0)
    for name, runs in (("a thousandth", tiny), ("a hundredth", small)):
        proxies = np.array(
            [Teacher(run.folders[1.0]).score(exam.solutions()).values.mean(axis=0) for run in runs]
        )
        right, count = pairs_right(-proxies[:, BASELINE], truth)
        yield Row(
            f"decisions between {len(runs)} training mixtures, from {name} of the compute",
            ">= .85 of pairs",
            f"{right} of {count} pairs right" if count else "unmeasured: the mixtures end alike",
            right >= 0.85 * count if count else None,
        )


def measure(pool: dict[str, Path], exam: Exam, setting: Setting) -> tuple[Floats, Floats]:
    """Proxies [tasks, models, 80] and accuracies [tasks, models]."""
    kept = setting.work / "forecast" / "answers"
    scored = [Teacher(folder).score(exam.solutions()).by_task() for folder in pool.values()]
    marks = [exam.by_task(graded(folder, exam, kept)) for folder in pool.values()]
    tasks = list(marks[0])
    table = np.array([[one[task] for one in scored] for task in tasks])
    return table, np.array([[one[task] for one in marks] for task in tasks])


def _spearman(table: Floats, accuracy: Floats, names: list[str], exam: Exam, setting: Setting) -> Row:
    families = [task.partition("/")[0] for task in exam.by_task(np.zeros((2, len(exam))))]
    found = {
        method: leave_tasks_out(table, accuracy, families, method=method)
        for method in ("linear", "sparse", "single")
    }
    plain = np.array([-standardised(one)[:, BASELINE] for one in table])
    mean = {name: mean_spearman(scores, accuracy) for name, scores in found.items()}
    mean["solutions' cross-entropy"] = mean_spearman(plain, accuracy)
    score = found["linear"].mean(axis=0)
    picture = rank_picture(score, accuracy.mean(axis=0), names)
    write_frontier(setting.work / "forecast" / "rank.svg", picture)
    measured = ", ".join(f"{name} {value:.3f}" for name, value in mean.items())
    met = mean["linear"] >= max(0.85, mean["solutions' cross-entropy"])
    return Row(f"rank: Spearman over {len(names)} small models, families left out", ">= .85", measured, met)
