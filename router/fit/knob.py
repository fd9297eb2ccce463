"""A policy's knob, chosen on queries held out: as cheap as the accuracy that must be kept allows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from probes.errors import UsageError
from router.policies import CandidateTable, CheapestLikely, Policy, Tolerance, Utility
from router.policies.table import Bools, Floats, Ints

N_SETTINGS = 201
DROP = 0.005
"""Accuracy that a router may lose against the best single candidate: half a point."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What really happened on n queries, complete enough to judge any policy.

    Attributes
    ----------
    correct : ndarray of shape (n, K)
        In [0, 1]; where an outcome is missing, the predicted success stands in.
    cost_usd : ndarray of shape (n, K)
        Real costs; where one is missing, the expected cost stands in.
    known : ndarray of bool of shape (n, K)
        Where there is a real outcome.
    """

    correct: Floats
    cost_usd: Floats
    known: Bools

    @classmethod
    def of(cls, table: CandidateTable, correct: ArrayLike, cost_usd: ArrayLike) -> Outcome:
        """Fill the gaps (NaN) of measured outcomes from the table's predictions."""
        measured, paid = np.asarray(correct, dtype=np.float64), np.asarray(cost_usd, dtype=np.float64)
        if measured.shape != table.success.shape or paid.shape != table.success.shape:
            shapes = f"correct {measured.shape} and cost_usd {paid.shape}"
            raise UsageError(f"{shapes} must have the table's shape {table.success.shape}.", param="correct")
        known = ~np.isnan(measured)
        return cls(
            np.where(known, measured, table.success), np.where(np.isnan(paid), table.cost_usd, paid), known
        )

    def judge(self, index: Ints) -> tuple[float, float]:
        """Mean accuracy and mean cost (US dollars a query) of a choice of shape (n,)."""
        rows = np.arange(len(index))
        return float(self.correct[rows, index].mean()), float(self.cost_usd[rows, index].mean())

    @property
    def singles(self) -> tuple[Floats, Floats]:
        """Accuracy and cost of each candidate alone, shape (K,) each."""
        return self.correct.mean(axis=0), self.cost_usd.mean(axis=0)


@dataclass(frozen=True)
class Setting:
    """A policy with its knob set.

    Attributes
    ----------
    policy : Policy
        The policy.
    knob : float
        The knob's value.
    accuracy, cost_usd : float
        On the queries that it was set on; cost is per query.
    target : float
        The accuracy that was asked for.
    """

    policy: Policy
    knob: float
    accuracy: float
    cost_usd: float
    target: float

    @property
    def reached(self) -> bool:
        """Whether the target is reached there."""
        return self.accuracy >= self.target


def set_knob(
    policy: Policy, table: CandidateTable, outcome: Outcome, best: int, *, drop: float = DROP
) -> Setting:
    """The cheapest setting whose accuracy stays within `drop` of the best single candidate's.

    Parameters
    ----------
    policy : Policy
        One that has a knob.
    table : CandidateTable
        Predictions for queries that no probe was fitted on.
    outcome : Outcome
        What happened there.
    best : int
        Position of the best single candidate.
    drop : float
        Accuracy that may be lost against it.

    Returns
    -------
    Setting
        If nothing reaches the target, the most accurate setting, and `Setting.reached` is false.
    """
    target = float(outcome.correct[:, best].mean()) - drop
    settings = [_judged(policy, knob, table, outcome, target) for knob in knob_values(policy, table)]
    enough = [setting for setting in settings if setting.reached]
    if enough:
        return min(enough, key=lambda setting: (setting.cost_usd, -setting.accuracy))
    return max(settings, key=lambda setting: (setting.accuracy, -setting.cost_usd))


def pays(setting: Setting, table: CandidateTable, outcome: Outcome, best: int, scout_usd: Floats) -> bool:
    """Whether a setting is surely cheaper than the best single candidate, the scout's cost included.

    Do no harm: where this is false, the best static candidate should serve. A paired one-sided test at 95%.
    """
    index = setting.policy.choose(table).index
    rows = np.arange(len(index))
    saved = outcome.cost_usd[:, best] - outcome.cost_usd[rows, index] - scout_usd
    error = saved.std(ddof=1) / np.sqrt(len(saved)) if len(saved) > 1 else np.inf
    return setting.reached and bool(saved.mean() > 1.645 * error)


def knob_values(policy: Policy, table: CandidateTable, n: int = N_SETTINGS) -> Floats:
    """About `n` values that cover everything the knob can do on a table, from cheapest to dearest choices.

    Raises
    ------
    UsageError
        The policy has no knob.
    """
    levels = np.linspace(0.0, 1.0, n)
    match policy:
        case CheapestLikely():
            values = np.append(0.0, np.quantile(table.success[table.eligible], levels))
        case Tolerance():
            highest = np.where(table.eligible, table.success, -np.inf).max(axis=1, keepdims=True)
            gaps = (highest - table.success)[table.eligible]
            values = np.append(1.0, np.quantile(gaps, levels[::-1]))
        case Utility():
            cost = table.cost_usd[table.eligible]
            dear = float(cost.max()) or 1.0
            values = np.append(0.0, np.geomspace(dear * 1e-4, dear * 1e3, n))
        case _:
            raise UsageError(f"The policy {policy.rule} has no knob.", param="policy")
    return np.asarray(np.clip(values, 0.0, None if isinstance(policy, Utility) else 1.0))


def with_knob(policy: Policy, value: float) -> Policy:
    """The policy with its knob at `value`."""
    made: Any = policy
    turned: Policy = replace(made, **{str(policy.knob): float(value)})
    return turned


def _judged(policy: Policy, knob: float, table: CandidateTable, outcome: Outcome, target: float) -> Setting:
    turned = with_knob(policy, knob)
    return Setting(turned, float(knob), *outcome.judge(turned.choose(table).index), target)
