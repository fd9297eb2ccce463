"""Compare routers and baselines on an outcome set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from eval.harness.contestants import MIXTURES, NEEDS_SCOUT, PUBLISHED, ROUTERS
from eval.harness.details import collect_details
from eval.harness.judge import judge
from eval.harness.result import EvaluationResult, Point, RouterResult
from eval.harness.sample import Sample, prepare
from eval.harness.trial import Split, Trial, make_split
from eval.harness.workers import Task, perform_all
from eval.metrics.curves import oracle_choices
from eval.metrics.frontier import hull
from eval.outcomes import Outcomes
from probes.encoders.cache import ActivationCache, RenderingEncoder
from probes.encoders.encoder import Activations
from probes.errors import UsageError

Progress = Callable[[int, int], None]


def evaluate(
    outcomes: Outcomes,
    *,
    scout: RenderingEncoder | Activations | None = None,
    scout_name: str | None = None,
    scout_usd_per_mtok: float = 0.0,
    routers: Sequence[str] | None = None,
    seeds: int | Sequence[int] = 5,
    tolerance: float = 0.005,
    draws: int = 1000,
    min_coverage: float = 0.9,
    cache: str | Path | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
) -> EvaluationResult:
    """Cross-validated comparison.

    Every seed makes a split into train, calibrate and test, grouped by question. Routers are fitted on the
    first, calibrated and their knob frozen on the second, and judged on the third.

    Parameters
    ----------
    outcomes : Outcomes
        Any outcome set.
    scout : encoder or Activations, optional
        Reads the prompts, or has read them (one row a query of `outcomes`). Without, only routers that read
        the text compete.
    scout_name : str, optional
        For the result; an encoder knows its own.
    scout_usd_per_mtok : float
        Price of the scout's prefill; charged to every router that uses it.
    routers : sequence of str, optional
        Names from `eval.harness.contestants`; by default all that the scout allows but those of the
        literature (``PUBLISHED`` there). With ``all`` among them, all that the scout allows.
    seeds : int or sequence of int
        How many splits, or which.
    tolerance : float
        Accuracy below the best single candidate at which knobs are frozen; .005 is half a point.
    draws : int
        Bootstrap resamples.
    min_coverage : float
        Candidates that answered a smaller share of the queries are left out.
    cache : path, optional
        Folder where activations are kept between runs.
    jobs : int
        Processes that fit routers side by side; what is found does not depend on it.
    progress : callable, optional
        Told (steps done, all steps); reading the prompts counts as one.

    Returns
    -------
    EvaluationResult

    Raises
    ------
    UsageError
        An unknown router, or one that needs a scout when there is none.
    DataError
        Too little data for a comparison.
    """
    numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    names = _names(routers, scout is not None)
    if not numbers:
        raise UsageError("At least one seed is needed.", param="seeds")
    steps = 1 + len(numbers) * len(names)
    activations = read_activations(outcomes, scout, cache)
    sample = prepare(outcomes, activations, scout_usd_per_mtok=scout_usd_per_mtok, min_coverage=min_coverage)
    _tell(progress, 1, steps)
    splits = [make_split(sample, seed, tolerance) for seed in numbers]
    tasks = [Task(name, split, seed) for name in names for split, seed in zip(splits, numbers, strict=True)]
    trials: dict[str, list[Trial]] = {name: [] for name in names}
    results: dict[str, RouterResult] = {}
    for done, (task, trial) in enumerate(zip(tasks, perform_all(sample, tasks, jobs), strict=True)):
        whole = trials[task.router]
        whole.append(trial)
        if len(whole) == len(splits):
            results[task.router] = judge(sample, splits, whole, draws=draws)
        _tell(progress, 2 + done, steps)
    if isinstance(scout, Activations) or scout is None:
        read_by = scout_name
    else:
        read_by = scout_name or scout.identity.model
    return _result(sample, splits, trials, results, numbers, tolerance, read_by)


def _names(routers: Sequence[str] | None, has_scout: bool) -> list[str]:
    if routers is None or "all" in routers:
        left_out = PUBLISHED if routers is None else ()
        some = [name for name in (*ROUTERS, *MIXTURES) if name not in left_out]
        return [name for name in some if has_scout or name not in NEEDS_SCOUT]
    for name in routers:
        if name not in ROUTERS and name not in MIXTURES:
            known = ", ".join((*ROUTERS, *MIXTURES))
            raise UsageError(
                f"There is no router {name!r}.", param="routers", hint=f"Choose from: {known}; or all."
            )
        if name in NEEDS_SCOUT and not has_scout:
            raise UsageError(
                f"The router {name!r} reads a scout's activations, and there is no scout.",
                param="routers",
                hint="Name a scout, as --scout minilm.",
            )
    return list(dict.fromkeys(routers))


def read_activations(
    outcomes: Outcomes, scout: RenderingEncoder | Activations | None, cache: str | Path | None = None
) -> Activations | None:
    """The scout's activations of all queries, from the cache where they are there; None without a scout.

    Raises
    ------
    UsageError
        Activations that were handed in are not of these queries.
    """
    if scout is None or isinstance(scout, Activations):
        if scout is not None and len(scout) != len(outcomes):
            raise UsageError(f"{len(scout)} activations do not fit {len(outcomes)} queries.", param="scout")
        return scout
    if cache is None:
        return scout.encode(outcomes.conversations)
    return ActivationCache(cache).encode(scout, outcomes.conversations)


def _result(
    sample: Sample,
    splits: Sequence[Split],
    trials: Mapping[str, Sequence[Trial]],
    results: Mapping[str, RouterResult],
    seeds: tuple[int, ...],
    tolerance: float,
    scout: str | None,
) -> EvaluationResult:
    outcomes, singles = sample.outcomes, sample.singles
    points = [
        Point(name, float(accuracy), float(cost))
        for name, accuracy, cost in zip(outcomes.candidates, singles.accuracy, singles.cost, strict=True)
    ]
    chosen = oracle_choices(outcomes.correct, outcomes.cost_usd)
    cells = np.arange(len(outcomes)), chosen
    oracle = Point("oracle", float(outcomes.correct[cells].mean()), float(outcomes.cost_usd[cells].mean()))
    default = _default(sample, splits, trials, results)
    shown = default if default in trials else next(iter(trials))
    return EvaluationResult(
        outcomes=outcomes.name,
        queries=len(outcomes),
        scout=scout,
        seeds=seeds,
        best_single=points[singles.best],
        oracle=oracle,
        singles=tuple(points),
        hull=hull(singles.cost, singles.accuracy),
        routers=results,
        default=default,
        tolerance=tolerance,
        priced=sample.priced,
        notes=(*sample.notes, *_unreached(results, len(seeds))),
        details=collect_details(sample, splits, trials[shown], shown),
    )


def _default(
    sample: Sample,
    splits: Sequence[Split],
    trials: Mapping[str, Sequence[Trial]],
    results: Mapping[str, RouterResult],
) -> str:
    """Of the safe routers the one that paid least on the calibration splits, then the most accurate one.

    Where a router's knob was not set, the best single candidate was paid. Without a safe router it is the
    best single candidate.
    """

    def merit(name: str) -> tuple[float, float]:
        paid, right = [], []
        for split, trial in zip(splits, trials[name], strict=True):
            rows, at = split.calibrate, trial.frozen
            alone = sample.outcomes.correct[rows, split.best], sample.outcomes.cost_usd[rows, split.best]
            seen = alone if at is None else (trial.calibrate.correct[at], trial.calibrate.cost[at])
            right.append(seen[0].mean())
            paid.append(seen[1].mean())
        return float(np.mean(paid)), -float(np.mean(right))

    safe = [name for name, result in results.items() if result.safe and name not in MIXTURES]
    return min(safe, key=merit) if safe else "best-single"


def _unreached(results: Mapping[str, RouterResult], seeds: int) -> list[str]:
    return [
        f"{name}: no setting reached the target on the calibration split of {result.fallbacks} of {seeds} "
        "seeds; the best single candidate answered there."
        for name, result in results.items()
        if result.fallbacks
    ]


def _tell(progress: Progress | None, done: int, steps: int) -> None:
    if progress:
        progress(done, steps)
