"""Where runs of the ladder and of mixtures end, foreseen from the proxies of their first eighteenth.

As the paper does it: a proxy's mean over all tasks is carried on to the end of training, and what it is there
is read as accuracy through the other runs. Cross-entropy on training text is carried on and read in the same
way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.isotonic import IsotonicRegression

from eval.benchmarks.forecast.curves import SHARE, rms
from eval.benchmarks.forecast.material.answers import PER_FAMILY, Exam, graded
from eval.benchmarks.forecast.material.mixtures import mixture_runs
from eval.benchmarks.forecast.material.models import Series, ladder_runs
from eval.benchmarks.forecast.material.readings import read
from eval.benchmarks.row import Row, Setting
from eval.ladder.sizes import CHECKPOINT_SHARES, DRILLED, EARLY_SHARES, LOG_SHARES, SIZES
from eval.tables import Floats
from probes.forecast.rank.proxies import PROXIES
from probes.forecast.trend.siblings import LEAST_RUNS, Siblings

CANDIDATES = ("top5/frequency", "top1/frequency", "reciprocal_rank/uniform", "nll/frequency")
"""Proxies of which the other runs choose one; the first is the paper's."""
TEXT = "text"
FALLING = ("nll/frequency", TEXT)
"""Numbers that fall while accuracy grows."""
_TITLE = "curve: first 1/18 of training on questions to the end"
_REACH = "RMSE <= .03, half of cross-entropy's"


def rows(setting: Setting) -> Iterator[Row]:
    """Each run's end from its own first proxies, read as accuracy through the other runs of its kind."""
    rungs = [] if setting.quick else ladder_runs(setting, shares=CHECKPOINT_SHARES)
    if len(rungs) <= LEAST_RUNS or any(min(EARLY_SHARES) not in rung.folders for rung in rungs):
        missing = "unmeasured in --quick, or no checkpoints (foresight ladder train)"
        yield Row(f"{_TITLE}, ladder and mixtures", _REACH, missing, None)
        return
    for what, series in (("rungs of the ladder", rungs), ("mixtures", mixture_runs(setting))):
        watched = [_watched(run, setting) for run in series]
        yield _row(f"{_TITLE}, {len(series)} {what}", watched)


def _row(title: str, runs: Sequence[Watched]) -> Row:
    miss: dict[str, list[float]] = {"proxy": [], TEXT: [], "others": []}
    for run in runs:
        others = [one for one in runs if one is not run]
        name = _chosen(others)
        miss["proxy"].append(foresee(run, others, name) - run.end)
        miss[TEXT].append(foresee(run, others, TEXT) - run.end)
        miss["others"].append(float(np.mean([one.end for one in others])) - run.end)
    rmse, last = {name: rms(values) for name, values in miss.items()}, [run.end for run in runs]
    measured = (
        f"RMSE by proxy {rmse['proxy']:.3f}, by cross-entropy on training text {rmse[TEXT]:.3f}, by the"
        f" mean of the other runs' ends {rmse['others']:.3f}; ends from {min(last):.2f} to {max(last):.2f}"
    )
    return Row(title, _REACH, measured, rmse["proxy"] <= min(0.03, rmse[TEXT] / 2))


def _chosen(runs: Sequence[Watched]) -> str:
    """The proxy that foresees these runs best, each from the rest; the paper's where they are too few."""
    if len(runs) <= LEAST_RUNS:
        return CANDIDATES[0]

    def error(name: str) -> float:
        return rms([foresee(one, [o for o in runs if o is not one], name) - one.end for one in runs])

    return min(CANDIDATES, key=error)


@dataclass(frozen=True, eq=False)
class Watched:
    """One run: shares of its training on questions [T], numbers by name [T], size, and accuracies [T].

    ``accuracy`` holds NaN where nobody let the model answer.
    """

    shares: Floats
    numbers: Mapping[str, Floats]
    parameters: float
    accuracy: Floats

    @property
    def end(self) -> float:
        """Accuracy at the end."""
        return float(self.accuracy[-1])


def foresee(run: Watched, others: Sequence[Watched], name: str) -> float:
    """Accuracy at the end of one run, from its beginning and the other runs' relation to the number."""
    early = run.shares <= SHARE
    belief = Siblings.learn(
        [(one.shares, one.numbers[name]) for one in others],
        float(run.shares[early].max()),
        sizes=[one.parameters for one in others],
    )
    curve = belief.foresee(run.shares[early], run.numbers[name][early], 1.0, size=run.parameters)
    x = np.concatenate([one.numbers[name] for one in others])
    y = np.concatenate([one.accuracy for one in others])
    known = ~np.isnan(y)
    fitted = IsotonicRegression(increasing=name not in FALLING, out_of_bounds="clip").fit(x[known], y[known])
    return float(fitted.predict([float(curve(1.0))])[0])


def _watched(run: Series, setting: Setting) -> Watched:
    kept, exam = setting.work / "forecast" / "answers", Exam.draw(PER_FAMILY)
    folders = {share: folder for share, folder in run.folders.items() if share > DRILLED}
    found = [read(folder, setting) for folder in folders.values()]
    numbers = {name: np.array([one.mean[PROXIES.index(name)] for one in found]) for name in CANDIDATES}
    numbers[TEXT] = np.array([one.text_nats for one in found])
    asked = [share in LOG_SHARES if run.name in SIZES else share == 1 for share in folders]
    accuracy = [
        float(graded(folder, exam, kept).mean()) if ask else np.nan
        for folder, ask in zip(folders.values(), asked, strict=True)
    ]
    taught = (np.array(list(folders)) - DRILLED) / (1 - DRILLED)
    return Watched(taught, numbers, run.parameters, np.array(accuracy))
