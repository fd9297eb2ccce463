"""What the report shows of one router beyond its figures: zones, datasets, reliability, mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.baselines.base import texts
from eval.harness.sample import Sample
from eval.harness.trial import Split, Trial
from eval.tables import Floats
from probes.metrics import Reliability, reliability_curve

_EXAMPLES = 8


@dataclass(frozen=True)
class Zone:
    """Queries on which the candidates agree, or not.

    Attributes
    ----------
    name : str
        All right, contestable, or all wrong.
    share : float
        Of the queries.
    accuracy, best_accuracy : float
        The router's and the best single candidate's inside the zone.
    cost_ratio : float
        The router's cost over the best single's inside the zone.
    """

    name: str
    share: float
    accuracy: float
    best_accuracy: float
    cost_ratio: float


@dataclass(frozen=True)
class Stratum:
    """One dataset or category: the router against the best single candidate."""

    name: str
    queries: int
    accuracy: float
    best_accuracy: float
    cost_ratio: float


@dataclass(frozen=True)
class Mistake:
    """A query that the router lost although a candidate had it right."""

    query_id: str
    excerpt: str
    chosen: str
    predicted: float
    winner: str


@dataclass(frozen=True)
class Details:
    """Everything that the report shows of one router.

    Attributes
    ----------
    router : str
        Its name.
    zones : tuple of Zone
        By agreement of the candidates.
    strata : tuple of Stratum
        By dataset or category.
    reliability : mapping of str to Reliability
        Of each candidate's calibrated probability, pooled over the seeds; ``all`` pools the candidates.
    mistakes : tuple of Mistake
        The most confident ones of the first seed.
    cost_by_candidate : mapping of str to float
        US dollars a query, over all queries.
    scout_cost : float
        US dollars a query for the scout.
    """

    router: str
    zones: tuple[Zone, ...]
    strata: tuple[Stratum, ...]
    reliability: dict[str, Reliability]
    mistakes: tuple[Mistake, ...]
    cost_by_candidate: dict[str, float]
    scout_cost: float


def collect_details(
    sample: Sample, splits: Sequence[Split], trials: Sequence[Trial], name: str
) -> dict[str, Any]:
    """Details of one router, under the key of its name; empty for a coin toss."""
    if trials[0].choice is None or trials[0].success is None:
        return {}
    rows = np.concatenate([trial.test_rows for trial in trials])
    chosen = np.concatenate([trial.choice for trial in trials if trial.choice is not None])
    success = np.vstack([trial.success for trial in trials if trial.success is not None])
    correct, cost = sample.outcomes.correct[rows], sample.outcomes.cost_usd[rows]
    at = np.arange(len(rows)), chosen
    used = np.concatenate([np.full(len(t.test_rows), t.frozen is not None) for t in trials])
    scout = np.where(used, sample.scout_cost[rows], 0.0)
    best = splits[0].best
    columns = (correct[at], cost[at] + scout, correct[:, best], cost[:, best])
    candidates = sample.outcomes.candidates
    curves = {name: reliability_curve(success[:, k], correct[:, k]) for k, name in enumerate(candidates)}
    curves["all"] = reliability_curve(success.ravel(), correct.ravel())
    details = Details(
        router=name,
        zones=_zones(correct, columns),
        strata=_strata(np.array(sample.strata)[rows], columns),
        reliability=curves,
        mistakes=_mistakes(sample, trials[0]),
        cost_by_candidate={
            name: float(cost[at][chosen == k].sum() / len(rows)) for k, name in enumerate(candidates)
        },
        scout_cost=float(scout.mean()),
    )
    return {name: details}


Columns = tuple[Floats, Floats, Floats, Floats]


def _zones(correct: Floats, columns: Columns) -> tuple[Zone, ...]:
    everyone, someone = correct.min(axis=1) >= 0.5, correct.max(axis=1) >= 0.5
    masks = {"all right": everyone, "contestable": someone & ~everyone, "all wrong": ~someone}
    zones = []
    for name, mask in masks.items():
        if mask.any():
            zones.append(Zone(name, float(mask.mean()), *_compare(columns, mask)))
    return tuple(zones)


def _strata(labels: np.ndarray[Any, Any], columns: Columns) -> tuple[Stratum, ...]:
    names, counts = np.unique(labels, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return tuple(
        Stratum(str(names[i]) or "all", int(counts[i]), *_compare(columns, labels == names[i])) for i in order
    )


def _compare(columns: Columns, mask: np.ndarray[Any, Any]) -> tuple[float, float, float]:
    accuracy, cost, best_accuracy, best_cost = (float(column[mask].mean()) for column in columns)
    return accuracy, best_accuracy, cost / best_cost if best_cost > 0 else float("nan")


def _mistakes(sample: Sample, trial: Trial) -> tuple[Mistake, ...]:
    assert trial.choice is not None
    assert trial.success is not None
    rows, at = trial.test_rows, np.arange(len(trial.test_rows))
    correct, cost = sample.outcomes.correct[rows], sample.outcomes.cost_usd[rows]
    predicted = trial.success[at, trial.choice]
    lost = (correct[at, trial.choice] < 0.5) & (correct.max(axis=1) >= 0.5)
    worst = np.flatnonzero(lost)[np.argsort(-predicted[lost], kind="stable")][:_EXAMPLES]
    queries = sample.outcomes.queries.take(rows[worst])
    names = sample.outcomes.candidates
    winners = np.where(correct[worst] >= 0.5, cost[worst], np.inf).argmin(axis=1)
    return tuple(
        Mistake(
            query_id,
            " ".join(text.split())[:160],
            names[int(trial.choice[i])],
            float(predicted[i]),
            names[int(winner)],
        )
        for query_id, text, i, winner in zip(queries.ids, texts(queries), worst, winners, strict=True)
    )
