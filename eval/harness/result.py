"""What a comparison found: numbers for people, for the report, and as stable JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eval.metrics.bootstrap import Interval
from eval.metrics.curves import Curve
from eval.tables import Floats


@dataclass(frozen=True)
class Point:
    """A named point in the cost-accuracy plane; cost in US dollars a query."""

    name: str
    accuracy: float
    cost: float


@dataclass(frozen=True)
class RouterResult:
    """One router over all seeds. Figures that do not apply are NaN.

    Attributes
    ----------
    auroc, auroc_within, auroc_contestable : float
        Mean over candidates: pooled, mean within datasets (or categories), and on the queries that some
        candidates get right and some wrong.
    ece, brier : float
        Median over candidates, and mean.
    accuracy, cost : float
        At the knob frozen on the calibration split for the best single candidate's accuracy less the
        tolerance; cost in US dollars a query, the scout's included.
    cost_ratio : float
        Cost over that of the best single candidate.
    saving_ci, accuracy_gap_ci : Interval
        Paired 95% intervals of 1 - cost_ratio and of accuracy minus the best single's.
    cost_at_parity : float
        In hindsight: least cost on the test curve at the best single's accuracy, over its cost.
    p_auccc, mdp_auccc, aiq, apgr, cpt50, cpt80 : float
        See `eval.metrics`.
    headroom_captured : float
        At the knob that is most accurate on the calibration split.
    curve : Curve
        Mean over seeds.
    band : pair of ndarray
        95% interval of the accuracy at each point of the curve.
    fallbacks : int
        Seeds in which no knob reached the target, so that the best single candidate answered.
    share : mapping of str to float
        Queries answered by each candidate at the frozen knob.
    safe : bool
        Whether, on the calibration splits, its saving over the cheapest static choice is above zero with 95%
        confidence.
    """

    auroc: float
    auroc_within: float
    auroc_contestable: float
    ece: float
    brier: float
    accuracy: float
    cost: float
    cost_ratio: float
    saving_ci: Interval
    accuracy_gap_ci: Interval
    cost_at_parity: float
    p_auccc: float
    p_auccc_ci: Interval
    mdp_auccc: float
    aiq: float
    apgr: float
    cpt50: float
    cpt80: float
    headroom_captured: float
    curve: Curve
    band: tuple[Floats, Floats]
    fallbacks: int
    share: Mapping[str, float]
    safe: bool

    def to_json(self, priced: bool) -> dict[str, Any]:
        """The stable fields; without costs those that need them are null."""
        money = {"cost", "cost_ratio", "saving_ci", "cost_at_parity", "p_auccc", "p_auccc_ci"}
        money |= {"mdp_auccc", "aiq", "apgr", "cpt50", "cpt80", "curve"}
        row: dict[str, Any] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if name == "band":
                continue
            if name == "curve":
                points = zip(value.cost, value.accuracy, value.knob, strict=True)
                value = [[float(cell) for cell in point] for point in points]
            row[name] = None if name in money and not priced else _plain(value)
        return row


@dataclass(frozen=True)
class EvaluationResult:
    """A whole comparison.

    Attributes
    ----------
    outcomes : str
        Name of the outcome set.
    queries : int
        Queries compared on.
    scout : str or None
        Name of the scout.
    seeds : tuple of int
        One split each.
    best_single, oracle : Point
        Over all queries.
    singles : tuple of Point
        Every candidate.
    hull : Curve
        Convex hull of the singles.
    routers : mapping of str to RouterResult
        By name.
    default : str
        The router to deploy: the one that saved most on the calibration splits, if its saving is above zero
        with 95% confidence; else ``best-single``.
    tolerance : float
        Accuracy that the frozen knobs may give up.
    priced : bool
        Whether costs are known.
    notes : tuple of str
        What a reader must know.
    details : mapping
        For the report (`eval.harness.details`).
    """

    outcomes: str
    queries: int
    scout: str | None
    seeds: tuple[int, ...]
    best_single: Point
    oracle: Point
    singles: tuple[Point, ...]
    hull: Curve
    routers: Mapping[str, RouterResult]
    default: str
    tolerance: float
    priced: bool
    notes: tuple[str, ...]
    details: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def to_json(self) -> dict[str, Any]:
        """The documented JSON; numbers that do not exist are null."""
        hull = [[float(c), float(a)] for c, a in zip(self.hull.cost, self.hull.accuracy, strict=True)]
        return {
            "outcomes": self.outcomes,
            "queries": self.queries,
            "candidates": [point.name for point in self.singles],
            "scout": self.scout,
            "seeds": list(self.seeds),
            "best_single": self._point(self.best_single),
            "oracle": self._point(self.oracle),
            "singles": [self._point(point) for point in self.singles],
            "hull": hull if self.priced else None,
            "routers": {name: router.to_json(self.priced) for name, router in self.routers.items()},
            "default": self.default,
            "tolerance": self.tolerance,
            "notes": list(self.notes),
        }

    def _point(self, point: Point) -> dict[str, Any]:
        cost = point.cost if self.priced else None
        return {"name": point.name, "accuracy": point.accuracy, "cost": cost}


def _plain(value: Any) -> Any:
    """Numbers, lists and mappings as JSON has them; NaN becomes null."""
    if isinstance(value, Interval):
        return None if any(math.isnan(edge) for edge in value) else [float(edge) for edge in value]
    if isinstance(value, float):
        return None if math.isnan(value) else float(value)
    return dict(value) if isinstance(value, Mapping) else value
