"""Many routers on one set and the same splits, with paired intervals between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eval.baselines.base import Forecaster
from eval.benchmarks.probes.kept import Kept
from eval.benchmarks.row import Setting
from eval.harness.contestants import PUBLISHED, ROUTERS, make_forecaster
from eval.harness.judge import judge
from eval.harness.result import RouterResult
from eval.harness.sample import Sample, prepare
from eval.harness.trial import Split, Trial, forecast_trial, make_split
from eval.metrics.bootstrap import Interval
from eval.metrics.placement import Influence, difference, mean_influence
from eval.outcomes import Outcomes
from probes.encoders.encoder import Activations

OURS = "foresight"
SEEDS = 5
TOLERANCE = 0.005
BASELINES = tuple(name for name in ROUTERS if name not in (OURS, "shuffled"))


@dataclass(frozen=True)
class Comparison:
    """All routers of one set.

    Attributes
    ----------
    sample : Sample
        The complete table.
    splits : tuple of Split
        One a seed.
    trials : mapping of str to tuple of Trial
        By router, one a seed.
    results : mapping of str to RouterResult
        Means over the seeds.
    """

    sample: Sample
    splits: tuple[Split, ...]
    trials: Mapping[str, tuple[Trial, ...]]
    results: Mapping[str, RouterResult]

    @property
    def baselines(self) -> tuple[str, ...]:
        """The routers to beat."""
        return tuple(name for name in self.trials if name != OURS)

    def influences(self, name: str, *, within: bool, candidate: int | None = None) -> list[Influence]:
        """AUROC of one candidate or mean over all, one a seed, pooled or within strata."""
        found = []
        columns = slice(None) if candidate is None else slice(candidate, candidate + 1)
        for trial in self.trials[name]:
            assert trial.success is not None
            strata = np.array(self.sample.strata)[trial.test_rows] if within else None
            correct = self.sample.outcomes.correct[trial.test_rows]
            found.append(mean_influence(trial.success[:, columns], correct[:, columns], strata))
        return found

    def gain(self, name: str, *, within: bool, candidate: int | None = None) -> tuple[float, Interval]:
        """How much higher our AUROC is than a baseline's, with its paired 95% interval; see `influences`."""
        groups = np.array(self.sample.outcomes.groups)
        return difference(
            self.influences(OURS, within=within, candidate=candidate),
            self.influences(name, within=within, candidate=candidate),
            [groups[trial.test_rows] for trial in self.trials[OURS]],
        )


def compare(
    setting: Setting, outcomes: Outcomes, activations: Activations, routers: Sequence[str] | None = None
) -> Comparison:
    """Fit, calibrate and judge every router on the same grouped splits: 60% train, 20% calibrate, 20% test.

    Parameters
    ----------
    setting : Setting
        A quick one has a single split and no slow baseline.
    outcomes, activations : Outcomes, Activations
        Of the same queries.
    routers : sequence of str, optional
        Ours and the baselines; all by default.
    """
    names = list(routers or (OURS, *BASELINES))
    if setting.quick:
        names = [name for name in names if name not in PUBLISHED]
    sample = prepare(outcomes, activations)
    seeds = range(1 if setting.quick else SEEDS)
    splits = tuple(make_split(sample, seed, TOLERANCE) for seed in seeds)
    trials: dict[str, tuple[Trial, ...]] = {}
    for name in names:
        trials[name] = tuple(
            forecast_trial(sample, split, _forecaster(setting, name, seed, sample.slices))
            for seed, split in zip(seeds, splits, strict=True)
        )
    draws = 100 if setting.quick else 1000
    results = {name: judge(sample, splits, trials[name], draws=draws) for name in names}
    return Comparison(sample, splits, trials, results)


def _forecaster(setting: Setting, name: str, seed: int, slices: int) -> Forecaster:
    """Ours is fitted anew every time."""
    if name == OURS:
        return make_forecaster(name, seed, slices)
    return Kept(name, seed, slices, setting.work / "forecasts")


def with_interval(value: float, edges: Interval, digits: int = 3) -> str:
    """``+.012 [+.004, +.020]``."""
    low, high = edges
    return f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"
