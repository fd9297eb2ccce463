"""From the first eighteenth of training to its end: public runs by their accuracies and losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from eval.benchmarks.row import Row, Setting
from eval.pictures.forecast_plots import curve_picture
from eval.pictures.plots import write_frontier
from eval.tables import Floats, read_csv
from probes.forecast.trend.curve import LEAST_POINTS, Curve, fit_curve
from probes.forecast.trend.siblings import STRETCH, Siblings

SHARE = 1 / 18 + 1e-6
"""What is known of a run: its first eighteenth, that point included."""
DRAWN = "1B-5xC"
"""The run that the picture shows."""
PYTHIA_TASKS = ("arc_easy", "lambada_openai", "piqa", "sciq", "winogrande")


def rows(setting: Setting) -> Iterator[Row]:
    """Root mean squared errors of the accuracy at the end."""
    yield _public(setting, "pythia_evals", pythia, "Pythia, mean of five tasks")
    yield _public(setting, "olmo_ladder", olmo, "OLMo ladder, mean of its tasks")
    yield from _olmo_losses(setting)


@dataclass(frozen=True, eq=False)
class Recorded:
    """A public training run: steps and values [n] of it, and the size of its model."""

    name: str
    size: str
    steps: Floats
    values: Floats

    @property
    def early(self) -> npt.NDArray[np.bool_]:
        """Points of the first eighteenth."""
        return np.asarray(self.steps <= SHARE * self.steps.max())

    @property
    def sizes(self) -> tuple[float, float]:
        """Parameters, and steps of the whole run."""
        digits, unit = float(self.size[:-1]), {"m": 1e6, "b": 1e9}[self.size[-1].lower()]
        return digits * unit, float(self.steps.max())

    @property
    def compute(self) -> float:
        """Parameters times steps: compute in some unit."""
        return self.sizes[0] * self.sizes[1]


def _public(setting: Setting, name: str, read: Callable[[Path], list[Recorded]], what: str) -> Row:
    title = f"curve: first 1/18 of training to the end, accuracies of {what}"
    path = _file(setting, name)
    if path is None:
        return Row(title, "RMSE <= .03", "unmeasured: needs checkpoints under --data", None)
    runs = [run for run in read(path) if run.early.sum() >= LEAST_POINTS]
    miss: dict[str, list[float]] = {"alone": [], "siblings": [], "last": [], "size": []}
    covered = []
    for run in runs:
        truth = float(run.values[-1])
        curve = _with_siblings(run, runs)
        if run.name == DRAWN:
            _draw(curve, run, setting)
        low, high = curve.interval(run.steps.max())
        covered.append(low <= truth <= high)
        alone = fit_curve(run.steps[run.early], run.values[run.early], bounds=(0.0, 1.0))
        for name_of, value in (
            ("siblings", curve(run.steps.max())),
            ("alone", alone(run.steps.max())),
            ("last", run.values[run.early][-1]),
            ("size", _by_size(run, runs)),
        ):
            miss[name_of].append(float(value) - truth)
    rmse = {one: rms(values) for one, values in miss.items()}
    measured = (
        f"RMSE {rmse['siblings']:.3f} over {len(runs)} runs, prior from runs of other sizes (95% interval"
        f" holds {sum(covered)} of {len(covered)}); without such runs {rmse['alone']:.3f}; the last early"
        f" value unchanged {rmse['last']:.3f}; a line through the others' ends by log compute"
        f" {rmse['size']:.3f}"
    )
    return Row(title, "RMSE <= .03", measured, rmse["siblings"] <= 0.03)


def _with_siblings(run: Recorded, runs: Sequence[Recorded]) -> Curve:
    """The run's curve from its own beginning and from runs of other sizes."""
    others = [one for one in runs if one.size != run.size]
    reach = float(run.steps[run.early].max() / run.steps.max())
    found = Siblings.learn(
        [(one.steps, one.values) for one in others], reach, sizes=[one.sizes for one in others]
    )
    end = float(run.steps.max())
    return found.foresee(run.steps[run.early], run.values[run.early], end, size=run.sizes)


def _draw(curve: Curve, run: Recorded, setting: Setting) -> None:
    early = run.early & (run.steps >= run.steps[run.early].max() / STRETCH)
    later = run.steps[~run.early], run.values[~run.early]
    end = float(run.steps.max())
    picture = curve_picture(curve, run.steps[early], run.values[early], end, later)
    write_frontier(setting.work / "forecast" / "curve.svg", picture)


def _by_size(run: Recorded, runs: Sequence[Recorded]) -> float:
    """The end by compute alone, as if nothing were known of the run itself."""
    others = [one for one in runs if one.size != run.size]
    slope, level = np.polyfit(
        np.log([one.compute for one in others]), [float(one.values[-1]) for one in others], 1
    )
    return float(level + slope * np.log(run.compute))


def _olmo_losses(setting: Setting) -> Iterator[Row]:
    """The paper's way: carry a loss on to the end, and read the accuracy off other runs' last points."""
    title = "curve: OLMo ladder, loss carried on and read as accuracy through runs of other sizes"
    path = _file(setting, "olmo_ladder")
    if path is None:
        yield Row(title, "at most half of cross-entropy's", "unmeasured: needs --data", None)
        return
    accuracy = {run.name: run for run in olmo(path)}
    rmse = {}
    for label, columns in (("answers", "eval/downstream_bpb/"), ("text", "CrossEntropyLoss")):
        runs = [run for run in olmo(path, columns) if run.name in accuracy]
        miss = []
        for run in runs:
            loss = float(_with_siblings(run, runs)(run.steps.max()))
            others = [one for one in runs if one.size != run.size]
            x = np.array([one.values[-1] for one in others])
            y = np.array([accuracy[one.name].values[-1] for one in others])
            slope, level = np.polyfit(x, y, 1)
            miss.append(level + slope * loss - float(accuracy[run.name].values[-1]))
        rmse[label] = rms(miss)
    measured = (
        f"RMSE {rmse['answers']:.3f} by nats of right answers, {rmse['text']:.3f} by those of running text"
    )
    yield Row(title, "RMSE <= .03, half of text's", measured, rmse["answers"] <= min(0.03, rmse["text"] / 2))


def _file(setting: Setting, name: str) -> Path | None:
    path = None if setting.data is None else setting.data / "checkpoints" / f"{name}.csv.gz"
    return path if path is not None and path.is_file() else None


def rms(miss: Sequence[float]) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(miss))))


def pythia(path: Path) -> list[Recorded]:
    """Mean zero-shot accuracy of each model of the suite at each step."""
    cell = read_csv(path).columns
    names = ("suite", "model", "kind", "step", "shots", "task", "metric", "value")
    points: dict[str, dict[float, dict[str, float]]] = {}
    for suite, model, kind, step, shots, task, metric, value in zip(*(cell[n] for n in names), strict=True):
        if (suite, kind, shots, metric) == ("pythia-v1", "zero-shot", "0", "acc") and task in PYTHIA_TASKS:
            points.setdefault(model, {}).setdefault(float(step or 0), {})[task] = float(value)
    found = []
    for model, steps in points.items():
        whole = {step: list(one.values()) for step, one in steps.items() if len(one) == len(PYTHIA_TASKS)}
        found.append(_recorded(model, model.split("-")[1], whole))
    return found


def olmo(path: Path, columns: str = "eval/downstream/") -> list[Recorded]:
    """Mean over the validation columns of a kind, of those that every run has throughout."""
    table = read_csv(path)
    losses = columns == "CrossEntropyLoss"
    names = [n for n in table.columns if (n.endswith(columns) if losses else n.startswith(columns))]
    names = [n for n in names if n.startswith("eval/") and (losses or "_val_" in n)]
    names = [n for n in names if all(table.columns[n])]
    points: dict[str, dict[float, list[float]]] = {}
    for row, (run, step) in enumerate(zip(table.columns["run"], table.columns["_step"], strict=True)):
        points.setdefault(run, {})[float(step)] = [float(table.columns[name][row]) for name in names]
    return [_recorded(run, run.split("-")[0], one) for run, one in points.items()]


def _recorded(name: str, size: str, points: dict[float, list[float]]) -> Recorded:
    steps = np.array(sorted(step for step in points if step > 0))
    return Recorded(name, size, steps, np.array([np.mean(points[step]) for step in steps]))
