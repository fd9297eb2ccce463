"""From the trials of one router to its figures and their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eval.harness.result import RouterResult
from eval.harness.sample import Sample
from eval.harness.trial import Split, Trial, freeze
from eval.metrics.areas import aiq, mdp_auccc, p_auccc
from eval.metrics.bootstrap import GroupedBootstrap, Interval, interval
from eval.metrics.curves import Curve, Singles, oracle_choices
from eval.metrics.frontier import cost_at_accuracy, hull
from eval.metrics.savings import cost_at_parity, headroom_captured
from eval.metrics.strength import apgr, cpt
from eval.tables import Floats
from probes.metrics import auroc, auroc_within, brier, ece
from probes.splits import grouped_folds

NOTHING = Interval(float("nan"), float("nan"))


def judge(sample: Sample, splits: Sequence[Split], trials: Sequence[Trial], *, draws: int) -> RouterResult:
    """All figures of one router.

    Figures are means over the seeds. Intervals resample groups of questions over the pooled test rows, all
    seeds of a question together.

    Parameters
    ----------
    sample : Sample
        The complete table.
    splits, trials : sequence
        One a seed.
    draws : int
        Bootstrap resamples.
    """
    best = splits[0].best
    frozen = [_frozen(sample, split, trial) for split, trial in zip(splits, trials, strict=True)]
    correct, cost = (np.concatenate(column) for column in zip(*frozen, strict=True))
    rows = np.concatenate([trial.test_rows for trial in trials])
    best_correct, best_cost = sample.outcomes.correct[rows, best], sample.outcomes.cost_usd[rows, best]
    groups = np.array(sample.outcomes.groups)[rows]
    bootstrap = GroupedBootstrap(groups, draws=draws)
    means = bootstrap.means(np.column_stack([correct, cost, best_correct, best_cost]))
    curve, band, area = _curve(trials, bootstrap)
    priced = sample.priced and best_cost.mean() > 0
    return RouterResult(
        **_separation(sample, trials),
        accuracy=float(correct.mean()),
        cost=float(cost.mean()),
        cost_ratio=float(cost.mean() / best_cost.mean()) if priced else float("nan"),
        saving_ci=interval(1 - means[:, 1] / means[:, 3]) if priced else NOTHING,
        accuracy_gap_ci=interval(means[:, 0] - means[:, 2]),
        **_areas(trials),
        p_auccc_ci=area,
        headroom_captured=_headroom(sample, trials),
        curve=curve,
        band=band,
        fallbacks=sum(trial.frozen is None for trial in trials),
        share=_share(sample, trials),
        safe=_safe(sample, splits, trials, draws),
    )


def _frozen(sample: Sample, split: Split, trial: Trial) -> tuple[Floats, Floats]:
    """Outcome and cost of every test query at the frozen knob."""
    if trial.frozen is None:
        rows = trial.test_rows
        return sample.outcomes.correct[rows, split.best], sample.outcomes.cost_usd[rows, split.best]
    return trial.test.correct[trial.frozen], trial.test.cost[trial.frozen]


def _separation(sample: Sample, trials: Sequence[Trial]) -> dict[str, float]:
    names = ("auroc", "auroc_within", "auroc_contestable", "ece", "brier")
    if trials[0].success is None:
        return dict.fromkeys(names, float("nan"))
    seeds = []
    for trial in trials:
        assert trial.success is not None
        correct = sample.outcomes.correct[trial.test_rows]
        strata = np.array(sample.strata)[trial.test_rows]
        some = (correct.max(axis=1) > 0) & (correct.min(axis=1) < 1)
        columns = list(zip(trial.success.T, correct.T, strict=True))
        seeds.append(
            (
                _mean([auroc(p, y) for p, y in columns]),
                _mean([auroc_within(p, y, strata) for p, y in columns]),
                _mean([auroc(p[some], y[some]) for p, y in columns]),
                float(np.median([ece(p, y) for p, y in columns])),
                _mean([brier(p, y) for p, y in columns]),
            )
        )
    return {name: _mean(list(column)) for name, column in zip(names, zip(*seeds, strict=True), strict=True)}


def _areas(trials: Sequence[Trial]) -> dict[str, float]:
    metrics: dict[str, Any] = {
        "cost_at_parity": cost_at_parity,
        "p_auccc": p_auccc,
        "mdp_auccc": mdp_auccc,
        "aiq": aiq,
        "apgr": apgr,
        "cpt50": lambda curve, singles: cpt(curve, singles, 0.5),
        "cpt80": lambda curve, singles: cpt(curve, singles, 0.8),
    }
    curves = [(trial.test.curve(trial.knob), trial.singles) for trial in trials]
    # A figure that one seed does not reach is not reached: no mean over the lucky ones.
    return {
        name: float(np.mean([metric(curve, singles) for curve, singles in curves]))
        for name, metric in metrics.items()
    }


def _curve(
    trials: Sequence[Trial], bootstrap: GroupedBootstrap
) -> tuple[Curve, tuple[Floats, Floats], Interval]:
    """The mean curve, the band around its accuracies, and the interval of its P-AUCCC."""
    m = len(trials[0].knob)
    correct = np.concatenate([trial.test.correct for trial in trials], axis=1)
    cost = np.concatenate([trial.test.cost for trial in trials], axis=1)
    curve = Curve(cost.mean(axis=1), correct.mean(axis=1), trials[0].knob)
    means = bootstrap.means(np.vstack([correct, cost]).T)
    low, high = np.percentile(means[:, :m], [2.5, 97.5], axis=0)
    mean = _mean_singles(trials)
    areas = [p_auccc(Curve(row[m:], row[:m], curve.knob), mean) for row in means]
    return curve, (low, high), interval(np.array(areas))


def _mean_singles(trials: Sequence[Trial]) -> Singles:
    return Singles(
        np.mean([trial.singles.cost for trial in trials], axis=0),
        np.mean([trial.singles.accuracy for trial in trials], axis=0),
    )


def _headroom(sample: Sample, trials: Sequence[Trial]) -> float:
    captured = []
    for trial in trials:
        correct = sample.outcomes.correct[trial.test_rows]
        chosen = oracle_choices(correct, sample.outcomes.cost_usd[trial.test_rows])
        oracle = correct[np.arange(len(correct)), chosen].mean()
        accuracy = trial.test.correct[trial.most_accurate].mean()
        best = correct[:, sample.singles.best].mean()
        captured.append(headroom_captured(float(accuracy), float(best), float(oracle)))
    return _mean(captured)


def _share(sample: Sample, trials: Sequence[Trial]) -> dict[str, float]:
    if trials[0].choice is None:
        return {}
    chosen = np.concatenate([trial.choice for trial in trials if trial.choice is not None])
    counts = np.bincount(chosen, minlength=len(sample.outcomes.candidates)) / len(chosen)
    return {name: float(s) for name, s in zip(sample.outcomes.candidates, counts, strict=True) if s > 0}


def _safe(sample: Sample, splits: Sequence[Split], trials: Sequence[Trial], draws: int) -> bool:
    """Do no harm: cheaper on calibration data than the static choice of the same accuracy.

    The knob is set on one half of each calibration split and priced on the other, so that choosing it is not
    mistaken for a gain; where none reaches the target, the best candidate answers and nothing is gained. The
    static choice is the point of the singles' hull that is as accurate as the router, so that a saving bought
    with accuracy counts for nothing; without costs, it is the best candidate and the gain is accuracy. The
    lower end of its 95% interval must be above zero.
    """
    tables, names = [], []
    for split, trial in zip(splits, trials, strict=True):
        groups = np.array(sample.outcomes.groups)[split.calibrate]
        half = grouped_folds(groups, 2) if len(set(groups)) > 1 else np.zeros(len(groups), int)
        for side in np.unique(half):
            here, there = np.flatnonzero(half == side), np.flatnonzero(half != side)
            knob = freeze(trial.calibrate, sample, split, there if len(there) else here)
            rows = split.calibrate[here]
            if knob is None:
                ours = (sample.outcomes.correct[rows, split.best], sample.outcomes.cost_usd[rows, split.best])
            else:
                ours = (trial.calibrate.correct[knob, here], trial.calibrate.cost[knob, here])
            tables.append(
                np.column_stack([*ours, sample.outcomes.correct[rows], sample.outcomes.cost_usd[rows]])
            )
            names.append(groups[here])
    means = GroupedBootstrap(np.concatenate(names), draws=min(draws, 200), seed=1).means(np.vstack(tables))
    best = 2 + splits[0].best
    gains = [_gain(row) if sample.priced else row[0] - row[best] for row in means]
    return bool(np.percentile(gains, 2.5) > 1e-12)


def _gain(means: Floats) -> float:
    """How much less the router pays than the singles' hull at the router's accuracy."""
    accuracy, paid, singles = means[0], means[1], means[2:].reshape(2, -1)
    corners = hull(singles[1], singles[0])
    return cost_at_accuracy(corners, min(float(accuracy), float(corners.accuracy[-1]))) - float(paid)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
