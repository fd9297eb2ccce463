"""Probes on the ladder's own activations: at each checkpoint, and frozen at one for all later ones.

Checkpoints stand at equal distances, as training runs keep them; then at logarithmic ones, mostly early.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval.benchmarks.forecast.material.answers import (
    MODES,
    PER_FAMILY,
    TEACH_PER_FAMILY,
    Exam,
    drawn_rate,
    graded,
    kwargs,
)
from eval.benchmarks.forecast.material.models import Series, ladder_runs
from eval.benchmarks.row import Row, Setting
from eval.ladder.sizes import EVEN_SHARES, LOG_SHARES
from eval.pictures.forecast_plots import training_picture
from eval.pictures.plots import write_frontier
from eval.tables import Floats
from probes.errors import UsageError
from probes.files import whole_file
from probes.forecast.checkpoint.powered import canary, set_accuracy
from probes.forecast.checkpoint.states import read_folder
from probes.forecast.checkpoint.transfer import LADDER, fit_probe
from probes.metrics import auroc_within

LARGEST = "ladder-l"
"""Asked for direct answers only: its worked ones take longest by far."""
CANARY = 100
N_CANARIES = 20
DRAWN_PER_FAMILY, N_DRAWN = 60, 5
"""Questions a family that first checkpoints answer several times, and how often."""
FROM_A_TENTH = tuple(share for share in LOG_SHARES if share >= 0.1)
"""Logarithmic shares of training at which checkpoints are asked: before, they have seen drills only."""
QUICK = 6, 20
"""Questions a family in --quick: asked, and learnt from."""


@dataclass(frozen=True, eq=False)
class Watched:
    """One run in one mode: a probe of every checkpoint, applied to all of them.

    Attributes
    ----------
    run, mode
        What was watched.
    shares : tuple of float
        Of training, T of them.
    forecast : ndarray of shape (T, T, n)
        Success foreseen by the probe of one checkpoint (first axis), fitted to its answers to other
        questions, from the activations of another; NaN where those answers teach nothing.
    correct : ndarray of shape (T, n)
        True answers.
    families : ndarray of shape (n,)
        Of the questions.
    difficulty : ndarray of shape (n,)
        By the questions' own generator, in [0, 1]: what no forecaster is told.
    """

    run: Series
    mode: str
    shares: tuple[float, ...]
    forecast: Floats
    correct: Floats
    families: Floats
    difficulty: Floats

    @property
    def name(self) -> str:
        """Run and mode."""
        return f"{self.run.name} {self.mode}"

    @property
    def sources(self) -> list[int]:
        """Checkpoints that have a probe."""
        return [i for i in range(len(self.shares)) if not np.isnan(self.forecast[i]).any()]

    def area(self, source: int, target: int) -> float:
        """AUROC within family of one checkpoint's probe on another's questions."""
        return auroc_within(self.forecast[source, target], self.correct[target], self.families)

    def area_of_difficulty(self, target: int) -> float:
        """AUROC within family of the easier question being the one that a checkpoint solves."""
        return auroc_within(-self.difficulty, self.correct[target], self.families)


def rows(setting: Setting) -> Iterator[Row]:
    """AUROC of own probes, of frozen ones, and the set's accuracy with a canary."""
    if setting.quick:  # what is packaged
        yield from _judged(_watched(setting, FROM_A_TENTH), "packaged checkpoints", setting)
        return
    even = _watched(setting, EVEN_SHARES)
    yield from _judged(even, "equal distances", setting)
    yield _attainable(even, setting)
    late = _watched(setting, FROM_A_TENTH)
    yield _own(late, "logarithmic distances")
    yield _frozen(late, "logarithmic distances")


def _judged(watched: Sequence[Watched], where: str, setting: Setting) -> Iterator[Row]:
    yield _own(watched, where)
    yield _frozen(watched, where)
    yield _accuracy(watched, setting)


def _watched(setting: Setting, shares: Sequence[float]) -> list[Watched]:
    """Every run in every mode at these shares of training, as far as there are checkpoints."""
    exam = Exam.draw(QUICK[0] if setting.quick else PER_FAMILY)
    teach = Exam.draw(QUICK[1] if setting.quick else TEACH_PER_FAMILY, split="fit")
    runs = ladder_runs(setting, shares=shares)
    return [
        watch(run, exam, teach, mode, setting)
        for run in (runs[:1] if setting.quick else runs)
        for mode in (MODES[:1] if run.name == LARGEST else MODES)
    ]


def watch(run: Series, exam: Exam, teach: Exam, mode: str, setting: Setting) -> Watched:
    """Read and grade every checkpoint of a run; what was foreseen is kept under --work, by content."""
    kept, folders = setting.work / "forecast" / "answers", list(run.folders.values())
    correct = np.array([graded(folder, exam, kept, modes=[mode])[0] for folder in folders])
    digest = hashlib.sha256(" ".join(LADDER).encode())
    for folder in folders:
        digest.update((folder / "model.safetensors").read_bytes())
    name = f"{run.name}-{mode}-{len(teach)}-{len(exam)}-{digest.hexdigest()[:16]}.npy"
    place = setting.work / "forecast" / "watched" / name
    if not place.is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        found = _foreseen(folders, exam, teach, mode, kept)
        with whole_file(place) as fresh, fresh.open("wb") as handle:
            np.save(handle, found)
    difficulty = np.array([question.difficulty for question in exam.questions])
    families = np.array(exam.families)
    return Watched(run, mode, tuple(run.folders), np.load(place), correct, families, difficulty)


def _foreseen(folders: Sequence[Path], exam: Exam, teach: Exam, mode: str, kept: Path) -> Floats:
    """Success [T, T, n] of the questions asked, by each checkpoint's probe from each one's activations."""
    asked = [read_folder(one, exam.conversations(), template_kwargs=kwargs(mode)) for one in folders]
    table = np.full((len(folders), len(folders), len(exam)), np.nan)
    for source, folder in enumerate(folders):
        learnt = graded(folder, teach, kept, modes=[mode])[0]
        read = read_folder(folder, teach.conversations(), template_kwargs=kwargs(mode))
        try:
            probe = fit_probe(read, learnt)
        except UsageError:  # all right or all wrong: nothing to learn from
            continue
        table[source] = [
            probe.predict(states) if target == source else probe.predict_later(states)
            for target, states in enumerate(asked)
        ]
    return table


def _shape(watched: Sequence[Watched], where: str) -> str:
    asked = len(watched[0].correct[0]) if watched else 0
    return f"{where}, {len(watched)} runs and modes, {asked} questions asked"


def _own(watched: Sequence[Watched], where: str) -> Row:
    """Each checkpoint's own probe on questions that it has not seen."""
    title = f"checkpoint: AUROC per question, within family ({_shape(watched, where)})"
    every = [[one.area(i, i) for i in one.sources] for one in watched]
    values = [value for areas in every for value in areas if not np.isnan(value)]
    if not values:
        return Row(
            title,
            ">= .80",
            "unmeasured: no checkpoints (`foresight ladder train`), or none right and wrong",
            None,
        )
    last, first = [areas[-1] for areas in every], [areas[0] for areas in every]
    measured = (
        f"mean {np.mean(values):.3f} over {len(values)} checkpoints, from {min(values):.3f} to"
        f" {max(values):.3f}; at the end of training {np.nanmean(last):.3f}, at {watched[0].shares[0]:.3g} of"
        f" it {np.nanmean(first):.3f}"
    )
    return Row(title, ">= .80", measured, bool(np.mean(values) >= 0.80))


def _attainable(watched: Sequence[Watched], setting: Setting) -> Row:
    """What somebody who knows the questions, or generates, can tell of the answers."""
    title = "checkpoint: AUROC within family of what no forecast may see"
    exam, kept = Exam.draw(DRAWN_PER_FAMILY), setting.work / "forecast" / "answers"
    drawn, own = [], []
    for one in watched:
        right, few = one.correct[0, : len(exam)], one.families[: len(exam)]
        rate = drawn_rate(one.run.folders[one.shares[0]], exam, one.mode, kept, samples=N_DRAWN)
        drawn.append(auroc_within(rate, right, few))
        own.append(auroc_within(one.forecast[0, 0, : len(exam)], right, few))
    if not drawn:
        return Row(title, "none", "unmeasured: no checkpoints", None)
    first = [one.area_of_difficulty(0) for one in watched]
    every = [one.area_of_difficulty(i) for one in watched for i in one.sources]
    measured = (
        f"the generator's own difficulty {np.nanmean(every):.3f}, {np.nanmean(first):.3f} at the first"
        f" checkpoint; there, share of {N_DRAWN} drawn answers that are right {np.mean(drawn):.3f}, own"
        f" probes {np.mean(own):.3f} ({len(exam)} questions)"
    )
    return Row(title, "none", measured, None)


def _frozen(watched: Sequence[Watched], where: str) -> Row:
    """Every probe on all later checkpoints."""
    found = [
        (source, one.area(source, target))
        for one in watched
        for source in one.sources
        for target in range(source + 1, len(one.shares))
    ]
    values = [value for _, value in found if not np.isnan(value)]
    title = f"frozen earlier to later: AUROC within family ({_shape(watched, where)})"
    if not values:
        return Row(title, ">= .78", "unmeasured: no later checkpoint that is right and wrong", None)
    by_source = [np.nanmean([v for s, v in found if s == source]) for source in sorted({s for s, _ in found})]
    steps = ", ".join(
        f"{watched[0].shares[source]:.3g}: {value:.3f}" for source, value in enumerate(by_source)
    )
    measured = f"mean {np.mean(values):.3f} over {len(values)} pairs; by the share at which it froze {steps}"
    return Row(title, ">= .78", measured, bool(np.mean(values) >= 0.78))


def _accuracy(watched: Sequence[Watched], setting: Setting) -> Row:
    """The set's accuracy at all later checkpoints, each probe frozen, from a canary of their grades."""
    missed, alone, inside, pictures = [], [], [], {}
    for one in watched:
        points = []
        for target in [i + 1 for i in one.sources if i + 1 < len(one.shares)]:
            right, forecast = one.correct[target], one.forecast[target - 1, target]
            for seed in range(N_CANARIES):
                rows = canary(forecast, min(CANARY, len(right) // 2), seed=seed)
                found = set_accuracy(forecast, rows, right[rows])
                missed.append(abs(found.value - float(right.mean())))
                inside.append(found.low <= right.mean() <= found.high)
                drawn = np.random.default_rng(seed).choice(len(right), len(rows), replace=False)
                alone.append(abs(float(right[drawn].mean() - right.mean())))
                if seed == 0:
                    middle, reach = (found.low + found.high) / 2, (found.high - found.low) / 2
                    points.append((one.shares[target], float(right.mean()), middle, reach))
        columns = np.array(points).reshape(-1, 4).T
        pictures[one.name] = columns[0], columns[1], columns[2], columns[3]
    what = f"set accuracy of later checkpoints, probe of the one before, canary of {CANARY} questions"
    if not missed:
        return Row(what, "<= .03", "unmeasured: no later checkpoint", None)
    write_frontier(setting.work / "forecast" / "training.svg", training_picture(pictures))
    measured = (
        f"mean absolute error {np.mean(missed):.4f} (as many grades alone {np.mean(alone):.4f}); the 95%"
        f" interval holds {np.mean(inside):.1%} of {len(inside)}"
    )
    return Row(what, "<= .03", measured, bool(np.mean(missed) <= 0.03))
