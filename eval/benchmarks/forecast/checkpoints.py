"""A probe frozen at an earlier checkpoint of the ladder, applied to the later ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from eval.benchmarks.forecast.answers import MODES, Exam, graded, kwargs
from eval.benchmarks.forecast.models import Series, ladder_runs
from eval.benchmarks.row import Row, Setting
from eval.pictures.forecast_plots import training_picture
from eval.pictures.plots import write_frontier
from eval.tables import Floats
from probes.errors import UsageError
from probes.forecast.powered import set_accuracy
from probes.forecast.states import States, read_folder
from probes.forecast.transfer import CheckpointProbe, fit_probe
from probes.metrics import auroc_within

CANARY = 100
N_CANARIES = 20
FIRST = 0.1
"""Share of training from which a checkpoint may teach a probe: before, hardly any answer is right."""


@dataclass(frozen=True, eq=False)
class Watched:
    """One run in one mode: states and answers of every checkpoint."""

    name: str
    shares: tuple[float, ...]
    states: tuple[States, ...]
    correct: tuple[Floats, ...]


def rows(setting: Setting) -> Iterator[Row]:
    """AUROC of own probes, of frozen ones, and the set's accuracy with a canary."""
    exam = Exam.draw(4 if setting.quick else 60)
    runs = ladder_runs(setting)
    runs = runs[:1] if setting.quick else runs
    shape = f"{len(runs)} runs, {[len(run.folders) for run in runs]} checkpoints, {len(exam)} questions"
    watched = [watch(run, exam, mode, setting) for run in runs for mode in MODES]
    own, frozen, errors, pictures = [], [], [], {}
    for one in watched:
        fits = [_probe(states, right) for states, right in zip(one.states, one.correct, strict=True)]
        own += [
            auroc_within(fit.out_of_fold, right, np.array(exam.families))
            for fit, right in zip(fits, one.correct, strict=True)
            if fit is not None
        ]
        source = next((i for i, fit in enumerate(fits) if fit is not None and one.shares[i] >= FIRST), None)
        fit = None if source is None else fits[source]
        if source is None or fit is None:
            continue
        values, missed, line = follow(one, source, fit, exam)
        frozen += values
        errors += missed
        pictures[one.name] = line
    if pictures:
        write_frontier(setting.work / "forecast" / "training.svg", training_picture(pictures))
    yield _row(f"checkpoint: AUROC per question, within family ({shape})", ">= .80", own, 0.80)
    yield _row(f"frozen earlier to later: AUROC within family ({shape})", ">= .78", frozen, 0.78)
    measured = (
        f"mean absolute error {np.nanmean(errors):.3f}" if errors else "unmeasured: no later checkpoint"
    )
    met = bool(np.nanmean(errors) <= 0.03) if errors else None
    yield Row(f"set accuracy of later checkpoints, canary of {CANARY} questions", "<= .03", measured, met)


def watch(run: Series, exam: Exam, mode: str, setting: Setting) -> Watched:
    """Read and grade every checkpoint of a run."""
    kept = setting.work / "forecast" / "answers"
    conversations = exam.conversations()
    states = [read_folder(f, conversations, template_kwargs=kwargs(mode)) for f in run.folders.values()]
    correct = [graded(f, exam, kept, modes=[mode])[0] for f in run.folders.values()]
    return Watched(f"{run.name} {mode}", tuple(run.folders), tuple(states), tuple(correct))


def follow(
    one: Watched, source: int, fit: CheckpointProbe, exam: Exam
) -> tuple[list[float], list[float], tuple[Floats, Floats, Floats, Floats]]:
    """AUROC and canary error on each later checkpoint, and what the picture shows."""
    values, missed, points = [], [], []
    rng = np.random.default_rng(0)
    for i in range(source + 1, len(one.shares)):
        forecast, right = fit.predict(one.states[i], centre=True), one.correct[i]
        values.append(auroc_within(forecast, right, np.array(exam.families)))
        size = min(CANARY, len(right) // 2)
        found = []
        for _ in range(N_CANARIES):
            rows = rng.choice(len(right), size, replace=False)
            found.append(set_accuracy(forecast, rows, right[rows]))
        missed += [abs(one_set.value - float(right.mean())) for one_set in found]
        first = found[0]
        points.append((one.shares[i], float(right.mean()), first.value, (first.high - first.low) / 2))
    columns = np.array(points).reshape(-1, 4).T
    return values, missed, (columns[0], columns[1], columns[2], columns[3])


def _probe(states: States, right: Floats) -> CheckpointProbe | None:
    try:
        return fit_probe(states, right)
    except UsageError:  # all right or all wrong: nothing to learn from
        return None


def _row(what: str, reach: str, values: list[float], least: float) -> Row:
    known = [value for value in values if not np.isnan(value)]
    if not known:
        return Row(what, reach, "unmeasured: no checkpoint that is right and wrong", None)
    low = f"mean {np.mean(known):.3f}, from {min(known):.3f} to {max(known):.3f}"
    return Row(what, reach, low, bool(np.mean(known) >= least))
