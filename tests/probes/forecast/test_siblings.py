"""What finished runs teach of a new one: better than the run alone, with an honest interval."""

from __future__ import annotations

import numpy as np
import pytest

from probes.errors import DataError, UsageError
from probes.forecast.trend.curve import fit_curve
from probes.forecast.trend.siblings import Siblings

REACH = 1 / 18


def family(seed: int, n: int = 10) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Noisy runs of a - b s^(-c) whose ends rise with their size, and those sizes."""
    rng = np.random.default_rng(seed)
    sizes = np.geomspace(1e7, 1e9, n)
    runs = []
    for size in sizes:
        s = np.geomspace(0.006, 1, 24)
        last = 0.3 + 0.1 * np.log10(size / 1e7) + rng.normal(0, 0.01)
        rise, rate = 0.15 + 0.02 * rng.normal(), np.exp(np.log(0.4) + 0.1 * rng.normal())
        fall = np.expm1(-rate * np.log(s)) / np.expm1(-rate * np.log(0.05))
        runs.append((1000 * s, last - rise * fall + rng.normal(0, 0.01, len(s))))
    return runs, sizes


def test_finished_runs_beat_the_run_alone_and_the_interval_covers() -> None:
    alone, learnt, sized, inside = [], [], [], []
    for seed in range(4):
        runs, sizes = family(seed)
        for i in (2, 5, 7):
            others = [run for j, run in enumerate(runs) if j != i]
            t, y = runs[i]
            early = t <= 1000 * REACH
            plain = Siblings.learn(others, REACH).foresee(t[early], y[early], 1000.0)
            told = Siblings.learn(others, REACH, sizes=np.delete(sizes, i)).foresee(
                t[early], y[early], 1000.0, size=float(sizes[i])
            )
            low, high = told.interval(1000.0)
            inside.append(low <= y[-1] <= high)
            alone.append(float(fit_curve(t[early], y[early])(1000.0)) - y[-1])
            learnt.append(float(plain(1000.0)) - y[-1])
            sized.append(float(told(1000.0)) - y[-1])
    rms = [float(np.sqrt(np.mean(np.square(miss)))) for miss in (alone, learnt, sized)]
    assert rms[1] < 0.7 * rms[0]
    assert rms[2] < 0.05
    assert np.mean(inside) >= 0.75


def test_parameters_and_length_may_count_unlike_each_other() -> None:
    rng = np.random.default_rng(0)
    sizes = np.exp(rng.normal(0, 1, (24, 2)))
    lasts = 0.5 + 0.1 * np.log(sizes[:, 0]) - 0.02 * np.log(sizes[:, 1])
    s = np.geomspace(0.006, 1, 24)
    runs = [(s, last - 0.2 * (s**-0.3 - 1) + rng.normal(0, 0.02, len(s))) for last in lasts]
    miss: dict[str, list[float]] = {"both": [], "product": []}
    for i, (t, y) in enumerate(runs):
        rest = [run for j, run in enumerate(runs) if j != i]
        for name, size in (("both", sizes), ("product", sizes.prod(axis=1))):
            belief = Siblings.learn(rest, REACH, sizes=np.delete(size, i, axis=0))
            end = belief.foresee(t[:1], y[:1], 1.0, size=size[i])(1.0)
            miss[name].append(float(end) - lasts[i])
    rms = {name: float(np.sqrt(np.mean(np.square(one)))) for name, one in miss.items()}
    assert rms["both"] < 0.8 * rms["product"]
    column = Siblings.learn(runs, REACH, sizes=sizes[:, :1])
    assert np.array_equal(column.slope, Siblings.learn(runs, REACH, sizes=sizes[:, 0]).slope)


def test_no_unit_of_time_or_of_value_changes_what_is_foreseen() -> None:
    runs, _ = family(0)
    t, y = runs[0]
    early = t <= 1000 * REACH
    one = Siblings.learn(runs[1:], REACH).foresee(t[early], y[early], 1000.0)
    scaled = Siblings.learn([(7 * times, values) for times, values in runs[1:]], REACH)
    again = scaled.foresee(7 * t[early], y[early], 7000.0)
    assert float(again(7000.0)) == pytest.approx(float(one(1000.0)), abs=1e-9)
    assert float(one(1000.0)) == pytest.approx(one.limit - one.drop, abs=1e-12)


def test_one_early_point_is_enough_and_says_less_than_many() -> None:
    runs, _ = family(1)
    t, y = runs[4]
    belief = Siblings.learn(runs[:4] + runs[5:], REACH)
    early = np.flatnonzero(t <= 1000 * REACH)
    wide, narrow = (
        np.ptp(belief.foresee(t[rows], y[rows], 1000.0).interval(1000.0)) for rows in (early[-1:], early)
    )
    assert wide >= 0.9 * narrow > 0


def test_what_cannot_teach_or_be_foreseen_is_refused() -> None:
    runs, sizes = family(2)
    with pytest.raises(UsageError, match="1 finished runs"):
        Siblings.learn(runs[:1], REACH)
    with pytest.raises(UsageError, match="finished runs"):
        Siblings.learn([(t[-2:], y[-2:]) for t, y in runs], REACH)
    with pytest.raises(UsageError, match=r"\(0, 1\)"):
        Siblings.learn(runs, 1.0)
    with pytest.raises(DataError, match="size"):
        Siblings.learn(runs, REACH, sizes=sizes[:-1])
    with pytest.raises(DataError):
        Siblings.learn([([0.0, 1.0], [1.0, 2.0]), *runs], REACH)
    with pytest.raises(UsageError, match="before its end"):
        Siblings.learn(runs, REACH).foresee(*runs[0], 1000.0)
