"""Where training runs end, foreseen from their first eighteenth and from how other runs went.

As the paper does it: a number is carried on to the end of training, and what it is there is read as
accuracy through the other runs. The number is what all proxies together say, or one alone, or cross-entropy
on training text; all are carried on in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from eval.benchmarks.forecast.curves import rms
from eval.benchmarks.forecast.material.answers import accuracy
from eval.benchmarks.forecast.material.courses import Course, follow
from eval.benchmarks.forecast.material.mixtures import SMALL, TWINS, mixture_runs, varied_runs
from eval.benchmarks.forecast.material.models import ladder_runs
from eval.benchmarks.row import Row, Setting
from eval.ladder.sizes import CHECKPOINT_SHARES, EARLY_SHARES, LOG_SHARES
from eval.tables import Floats
from probes.forecast.rank.proxies import PROXIES
from probes.forecast.trend.siblings import LEAST_RUNS, Siblings

STRENGTH = 10.0
"""Of the ridge that reads all proxies together; chosen before the varied runs were asked."""
PAPERS = PROXIES.index("top5/frequency")
"""The paper's proxy for mixtures."""
_BOUNDED = ("top", "reciprocal_rank")
_GROWING = ("nll", "rank")
_FLOOR = 0.005
_TITLE = "curve: first 1/18 of training on questions to the end"
_REACH = "RMSE <= .03, half of cross-entropy's"


@dataclass(frozen=True)
class Gauge:
    """A number that can be carried on, and how success is read off it.

    Attributes
    ----------
    number
        [T] of a run's checkpoints.
    rate
        Mean accuracy, in [0, 1], where the number stands at a value.
    """

    number: Callable[[Course], Floats]
    rate: Callable[[float], float]


Maker = Callable[[Sequence[Course]], Gauge]
"""A gauge from runs that have ended."""


def rows(setting: Setting) -> Iterator[Row]:
    """Each run's end from its own beginning and all other runs; a row for each kind of runs."""
    rungs = [] if setting.quick else ladder_runs(setting, shares=CHECKPOINT_SHARES)
    if len(rungs) <= LEAST_RUNS or any(min(EARLY_SHARES) not in rung.folders for rung in rungs):
        missing = "unmeasured in --quick, or no checkpoints (foresight ladder train)"
        yield Row(f"{_TITLE}, ladder and mixtures", _REACH, missing, None)
        return
    kinds = {
        "runs of seven sizes and lengths": [follow(run, setting) for run in varied_runs(setting)],
        "mixtures of one size": [follow(run, setting) for run in mixture_runs(setting)],
        "mixtures of a hundredth": [follow(run, setting) for run in mixture_runs(setting, SMALL)],
        "rungs of the ladder": [follow(run, setting, asked=LOG_SHARES) for run in rungs],
    }
    pool = [run for runs in kinds.values() for run in runs]
    for what, runs in kinds.items():
        yield _row(f"{_TITLE}, {len(runs)} {what}", runs, pool)
    yield _luck(setting)


def _luck(setting: Setting) -> Row:
    """What no forecast of a recipe can know: how far apart two runs of the same mixture end."""
    pairs = zip(*(mixture_runs(setting, names=TWINS, seed=seed) for seed in (0, 1)), strict=True)
    apart = [np.diff([accuracy(run.folders[1.0], setting) for run in pair])[0] for pair in pairs]
    measured = (
        f"{rms(apart):.3f} apart (root mean square), so one end has a standard deviation of"
        f" {rms(apart) / np.sqrt(2):.3f}"
    )
    return Row(f"curve: {len(apart)} mixtures trained twice, with another seed", "none", measured, None)


def _row(title: str, runs: Sequence[Course], pool: Sequence[Course]) -> Row:
    makers: Mapping[str, Maker] = {
        "all proxies together": together,
        "the paper's alone": lambda others: alone(others, _papers),
        "cross-entropy on training text": lambda others: alone(others, _text),
    }
    miss: dict[str, list[float]] = {name: [] for name in (*makers, *_STRAIGHT)}
    there: dict[str, list[float]] = {name: [] for name in makers}
    for run in runs:
        others = [one for one in pool if one is not run]
        for name, maker in makers.items():
            gauge = maker(others)
            miss[name].append(foresee(run, others, gauge) - run.end)
            there[name].append(gauge.rate(float(gauge.number(run)[-1])) - run.end)
        for name, numbers in _STRAIGHT.items():
            miss[name].append(_straight(run, others, numbers) - run.end)
    rmse, last = {name: rms(values) for name, values in miss.items()}, [run.end for run in runs]
    proxy, _, text, *_ = rmse.values()
    read = {name: f" ({rms(values):.3f} where the end itself is read)" for name, values in there.items()}
    shown = ", ".join(f"{name} {value:.3f}{read.get(name, '')}" for name, value in rmse.items())
    measured = f"RMSE {shown}; ends from {min(last):.2f} to {max(last):.2f}; {len(pool) - 1} other runs"
    return Row(title, _REACH, measured, proxy <= min(0.03, text / 2))


def together(others: Sequence[Course]) -> Gauge:
    """All proxies as one: the logit of accuracy, by ridge regression over the other runs' graded models."""
    known = np.concatenate([_unbounded(run.proxies)[run.asked] for run in others])
    rate = np.concatenate([run.accuracy[run.asked] for run in others])
    weight = np.concatenate([np.full(run.asked.sum(), 1 / run.asked.sum()) for run in others])
    fitted = make_pipeline(StandardScaler(), Ridge(STRENGTH))
    fitted.fit(known, logit(np.clip(rate, _FLOOR, 1 - _FLOOR)), ridge__sample_weight=weight)
    return Gauge(
        lambda run: np.asarray(fitted.predict(_unbounded(run.proxies))), lambda value: float(expit(value))
    )


def alone(others: Sequence[Course], number: Callable[[Course], Floats]) -> Gauge:
    """One number that grows with success, read by a monotone curve through the other runs."""
    known = np.concatenate([number(run)[run.asked] for run in others])
    rate = np.concatenate([run.accuracy[run.asked] for run in others])
    fitted = IsotonicRegression(out_of_bounds="clip").fit(known, rate)
    return Gauge(number, lambda value: float(fitted.predict([value])[0]))


def foresee(run: Course, others: Sequence[Course], gauge: Gauge) -> float:
    """Accuracy at the end of one run, from its beginning and the other runs."""
    belief = Siblings.learn(
        [(one.shares, gauge.number(one)) for one in others],
        float(run.shares[run.early].max()),
        sizes=[one.size for one in others],
    )
    early = gauge.number(run)[run.early]
    return gauge.rate(float(belief.foresee(run.shares[run.early], early, 1.0, size=run.size)(1.0)))


def _straight(run: Course, others: Sequence[Course], numbers: Callable[[Course], list[float]]) -> float:
    """The end by a straight line through the other runs' ends, without a curve and without a reading."""
    ends = logit(np.clip([one.end for one in others], _FLOOR, 1 - _FLOOR))
    fitted = make_pipeline(StandardScaler(), Ridge(1.0)).fit([numbers(one) for one in others], ends)
    return float(expit(fitted.predict([numbers(run)])[0]))


def _papers(run: Course) -> Floats:
    return _unbounded(run.proxies)[:, PAPERS]


def _text(run: Course) -> Floats:
    return np.asarray(-np.log(run.text_nats))


def _size(run: Course) -> list[float]:
    return [float(np.log(size)) for size in run.size]


def _begun(run: Course, number: Callable[[Course], Floats]) -> list[float]:
    """Level and rise of a number early on."""
    values, time = number(run)[run.early], np.log(run.shares[run.early])
    return [float(values[-3:].mean()), float(np.polyfit(time[1:], values[1:], 1)[0])]


_STRAIGHT: Mapping[str, Callable[[Course], list[float]]] = {
    "straight from size and length": _size,
    "from these and the paper's early proxy": lambda run: [*_size(run), *_begun(run, _papers)],
    "from these and early text": lambda run: [*_size(run), *_begun(run, _text)],
}
"""Lines that a forecast has to compare itself with, and the numbers that they take."""


def _unbounded(proxies: Floats) -> Floats:
    """Proxies [T, 80] as straight lines can take them: shares as logits, nats and ranks as logarithms."""
    table = np.array(proxies)
    for column, name in enumerate(PROXIES):
        if name.startswith(_BOUNDED):
            table[:, column] = logit(np.clip(table[:, column], 1e-4, 1 - 1e-4))
        elif name.startswith(_GROWING):
            table[:, column] = np.log(np.maximum(table[:, column], 1e-6))
    return table
