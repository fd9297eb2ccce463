"""From the first eighteenth of training to its end: the ladder by proxies, others by accuracies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from eval.benchmarks.forecast.answers import Exam, graded
from eval.benchmarks.forecast.models import Series, ladder_runs
from eval.benchmarks.row import Row, Setting
from eval.tables import Floats, read_csv
from probes.errors import UsageError
from probes.forecast.curve import fit_curve
from probes.forecast.proxies import PROXIES
from probes.forecast.teacher import Teacher

SHARE = 1 / 18 + 1e-6
PROXY = "top5/frequency"
BASELINE = "nll/uniform"
PYTHIA_TASKS = ("arc_easy", "lambada_openai", "piqa", "sciq", "winogrande")


def rows(setting: Setting) -> Iterator[Row]:
    """Root mean squared errors of the accuracy at the end."""
    yield _public(setting, "pythia_evals", pythia, "Pythia, mean of five tasks")
    yield _public(setting, "olmo_ladder", olmo, "OLMo ladder, mean of its tasks")
    yield _ladder(setting)


def _public(setting: Setting, name: str, read: object, what: str) -> Row:
    title, reach = f"curve: first 1/18 of training to the end, accuracies of {what}", "RMSE <= .03"
    path = None if setting.data is None else setting.data / "checkpoints" / f"{name}.csv.gz"
    if path is None or not path.is_file():
        return Row(title, reach, "unmeasured: needs checkpoints under --data", None)
    miss, still = [], []
    for t, values in read(path):  # type: ignore[operator]
        early = t <= SHARE * t.max()
        try:
            fitted = fit_curve(t[early], values[early], bounds=(0.0, 1.0))
        except UsageError:  # too few early checkpoints
            continue
        miss.append(float(fitted(t.max())) - float(values[t.argmax()]))
        still.append(float(values[early][-1]) - float(values[t.argmax()]))
    if not miss:
        return Row(title, reach, "unmeasured: no run has three early checkpoints", None)
    rmse, kept = (float(np.sqrt(np.mean(np.square(one)))) for one in (miss, still))
    measured = f"RMSE {rmse:.3f} over {len(miss)} runs; the last early value unchanged: {kept:.3f}"
    return Row(title, reach, measured, rmse <= 0.03)


def pythia(path: Path) -> list[tuple[Floats, Floats]]:
    """Steps and mean zero-shot accuracy of each model of the suite."""
    table = read_csv(path)
    cell = table.columns
    points: dict[str, dict[float, list[float]]] = {}
    for suite, model, step, shots, task, metric, value in zip(
        *(cell[name] for name in ("suite", "model", "step", "shots", "task", "metric", "value")), strict=True
    ):
        if suite == "pythia-v1" and shots == "0" and metric == "acc" and task in PYTHIA_TASKS and step:
            points.setdefault(model, {}).setdefault(float(step), []).append(float(value))
    return [_series(one) for one in points.values()]


def olmo(path: Path) -> list[tuple[Floats, Floats]]:
    """Steps and mean accuracy over the validation tasks of each run."""
    table = read_csv(path)
    names = [name for name in table.columns if name.startswith("eval/downstream/") and "_val_" in name]
    points: dict[str, dict[float, list[float]]] = {}
    for row, (run, step) in enumerate(zip(table.columns["run"], table.columns["_step"], strict=True)):
        cells = [table.columns[name][row] for name in names]
        if all(cells) and step and float(step) > 0:
            points.setdefault(run, {})[float(step)] = [float(cell) for cell in cells]
    return [_series(one) for one in points.values()]


def _series(points: dict[float, list[float]]) -> tuple[Floats, Floats]:
    t = np.array(sorted(step for step in points if step > 0))
    return t, np.array([np.mean(points[step]) for step in t])


def _ladder(setting: Setting) -> Row:
    """Each run's end from its own first proxies, read as accuracy through the other runs."""
    title, reach = "curve: first 1/18 of training to the end, ladder", "RMSE <= .03, half of cross-entropy's"
    runs = [run for run in ladder_runs(setting) if len(run.folders) >= 5]
    if len(runs) < 2 or setting.quick:
        return Row(
            title, reach, f"unmeasured: {len(runs)} runs with checkpoints, --quick {setting.quick}", None
        )
    exam = Exam.draw(15)
    read = [_read(run, exam, setting) for run in runs]
    found = {}
    for name in (PROXY, BASELINE):
        column = PROXIES.index(name)
        found[name] = [
            _end(read, i, column) - float(read[i][2][-1]) for i in range(len(runs)) if len(read) > 1
        ]
    rmse = {name: float(np.sqrt(np.mean(np.square(miss)))) for name, miss in found.items()}
    measured = ", ".join(f"{name} {value:.3f}" for name, value in rmse.items())
    return Row(title, reach, measured, rmse[PROXY] <= min(0.03, rmse[BASELINE] / 2))


def _read(run: Series, exam: Exam, setting: Setting) -> tuple[Floats, Floats, Floats]:
    """Tokens, mean proxies [checkpoints, 80] and accuracy of each checkpoint."""
    kept = setting.work / "forecast" / "answers"
    values = [np.nanmean(Teacher(f).score(exam.solutions()).values, axis=0) for f in run.folders.values()]
    accuracy = [float(graded(f, exam, kept).mean()) for f in run.folders.values()]
    return np.array(list(run.folders)) * run.tokens, np.array(values), np.array(accuracy)


def _end(read: list[tuple[Floats, Floats, Floats]], out: int, column: int) -> float:
    """Accuracy at the end of one run, from its beginning and the other runs' relation to the proxy."""
    t, values, _ = read[out]
    early = t <= SHARE * t.max()
    proxy = float(fit_curve(t[early], values[early, column])(t.max()))
    others = [one for i, one in enumerate(read) if i != out]
    x = np.concatenate([one[1][:, column] for one in others])
    y = np.concatenate([one[2] for one in others])
    order = np.argsort(x)
    return float(np.interp(proxy, x[order], y[order]))
