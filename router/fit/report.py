"""What fitting reports: how good the probes are and what routing saves, on questions that were held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from probes.metrics import auroc, auroc_within, brier, ece
from router.fit.comparison import Compared
from router.fit.knob import Outcome, Setting
from router.policies import CandidateTable, Oracle
from router.policies.table import Floats, Ints


@dataclass(frozen=True)
class CandidateReport:
    """One candidate's probe on the test split.

    Attributes
    ----------
    accuracy : float
        Its real accuracy.
    auroc, auroc_within : float
        Pooled, and the mean over datasets.
    ece, brier : float
        Of the calibrated probabilities.
    brier_base : float
        Of its base rate on the calibration split: what a probe must beat.
    """

    accuracy: float
    auroc: float
    auroc_within: float
    ece: float
    brier: float
    brier_base: float


@dataclass(frozen=True)
class Point:
    """Accuracy and cost (US dollars a query, the scout's included where it reads) on the test split."""

    accuracy: float
    cost_usd: float


@dataclass(frozen=True)
class Routed:
    """A policy with its frozen knob on the test split.

    Attributes
    ----------
    knob : float
        As chosen on queries held out from the fit.
    reached : bool
        Whether its target was reached there.
    static : bool
        Whether the router uses the best single candidate instead, because the rule did not surely pay.
    accuracy, cost_usd : float
        With the scout's cost.
    cost_ratio : float
        Cost over that of the best single candidate.
    saving_ci, accuracy_gap_ci : tuple of float
        95% intervals of ``1 − cost_ratio`` and of the accuracy minus the best single candidate's; a bootstrap
        over questions, paired.
    served_by : mapping of str to int
        Queries of each candidate.
    """

    knob: float
    reached: bool
    static: bool
    accuracy: float
    cost_usd: float
    cost_ratio: float
    saving_ci: tuple[float, float]
    accuracy_gap_ci: tuple[float, float]
    served_by: Mapping[str, int]


@dataclass(frozen=True)
class FitReport:
    """Everything that is known about a fresh router.

    Attributes
    ----------
    queries : mapping of str to int
        Size of each split.
    candidates : mapping of str to CandidateReport
        Probes.
    singles : mapping of str to Point
        Every candidate used for every query.
    cheapest, best : str
        The singles of least cost and of most accuracy on the calibration split.
    oracle : Point
        In hindsight: the cheapest candidate that was right.
    scout_cost_usd : float
        Mean cost of reading a query.
    routed : mapping of str to Routed
        Every rule that has a knob.
    rule : str
        The rule that a pool's ``fitted`` stands for; chosen on queries held out.
    compared : mapping of str to Compared
        The rules on the queries that they were chosen on.
    """

    queries: Mapping[str, int]
    candidates: Mapping[str, CandidateReport]
    singles: Mapping[str, Point]
    cheapest: str
    best: str
    oracle: Point
    scout_cost_usd: float
    routed: Mapping[str, Routed]
    rule: str
    compared: Mapping[str, Compared]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready values; NaN becomes None."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def candidate_report(
    success: ArrayLike, correct: ArrayLike, datasets: ArrayLike, base_rate: float
) -> CandidateReport:
    """Judge one candidate's probabilities (n,) by its outcomes (n,), NaN where missing."""
    predicted, measured = np.asarray(success, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    return CandidateReport(
        accuracy=float(np.nanmean(measured)) if np.isfinite(measured).any() else float("nan"),
        auroc=auroc(predicted, measured),
        auroc_within=auroc_within(predicted, measured, datasets),
        ece=ece(predicted, measured),
        brier=brier(predicted, measured),
        brier_base=brier(np.full(len(predicted), base_rate), measured),
    )


def routed_report(
    setting: Setting,
    table: CandidateTable,
    outcome: Outcome,
    best: int,
    scout_cost_usd: Floats,
    groups: ArrayLike,
    *,
    static: bool = False,
    seed: int = 0,
) -> Routed:
    """Judge a policy with a frozen knob on the test split; `best` is the best single candidate's position."""
    index = setting.policy.choose(table).index
    rows = np.arange(len(index))
    correct, cost = outcome.correct[rows, index], outcome.cost_usd[rows, index] + scout_cost_usd
    rival_correct, rival_cost = outcome.correct[:, best], outcome.cost_usd[:, best]
    weights = _resamples(groups, 1_000, seed)
    ratios = (weights @ cost) / np.maximum(weights @ rival_cost, 1e-300)
    gaps = (weights @ (correct - rival_correct)) / weights.sum(axis=1)
    counts = np.bincount(index, minlength=len(table.names))
    return Routed(
        knob=setting.knob,
        reached=setting.reached,
        static=static,
        accuracy=float(correct.mean()),
        cost_usd=float(cost.mean()),
        cost_ratio=float(cost.sum() / max(rival_cost.sum(), 1e-300)),
        saving_ci=_interval(1 - ratios),
        accuracy_gap_ci=_interval(gaps),
        served_by=dict(zip(table.names, counts.tolist(), strict=True)),
    )


def single_points(table: CandidateTable, outcome: Outcome) -> dict[str, Point]:
    """Every candidate used for every query."""
    accuracy, cost = outcome.singles
    return {name: Point(float(accuracy[k]), float(cost[k])) for k, name in enumerate(table.names)}


def oracle_point(table: CandidateTable, outcome: Outcome) -> Point:
    """The cheapest candidate that was right, by what was really paid; the scout is not needed for it."""
    hindsight = CandidateTable(table.success, outcome.cost_usd, table.names, table.eligible)
    return Point(*outcome.judge(Oracle(outcome.correct).choose(hindsight).index))


def _resamples(groups: ArrayLike, n: int, seed: int) -> Ints:
    """How often each query is in each bootstrap sample of whole groups, (n, queries)."""
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    count = int(group.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=n)
    return np.asarray(drawn[:, group])


def _interval(values: Floats) -> tuple[float, float]:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
