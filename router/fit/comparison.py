"""Which rule serves a pool: those with a knob, each with its knob set, compared on queries held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from router.fit.knob import Outcome, Setting, pays
from router.policies import CandidateTable, CheapestLikely, QualityFloor, Tolerance, Utility
from router.policies.table import Floats

SIMPLEST = (CheapestLikely.rule, Tolerance.rule, Utility.rule, QualityFloor.rule)
"""Rules by how easily a choice of theirs is explained, the easiest first."""


@dataclass(frozen=True)
class Compared:
    """A rule with its knob set, on the queries that it was set on.

    Attributes
    ----------
    knob : float
        The knob's value.
    accuracy, cost_usd : float
        Of its choices; cost is per query, the scout's left out (every rule pays it).
    target : float
        The accuracy that had to be kept.
    reached : bool
        Whether it was.
    pays : bool
        Whether the rule is surely cheaper than the best single candidate, the scout's cost included.
    excess_usd, standard_error_usd : float
        Cost per query above the cheapest rule's that may be chosen, and its standard error over queries.
    """

    knob: float
    accuracy: float
    cost_usd: float
    target: float
    reached: bool
    pays: bool
    excess_usd: float
    standard_error_usd: float


@dataclass(frozen=True)
class Comparison:
    """The rule that serves, and how all of them did.

    Attributes
    ----------
    chosen : str
        The simplest rule whose cost is within one standard error of the cheapest's, among those that keep
        the floor and pay (if none pays: that keep the floor; if none does: all).
    rules : mapping of str to Compared
        Every rule.
    """

    chosen: str
    rules: Mapping[str, Compared]

    @property
    def static(self) -> tuple[str, ...]:
        """Rules that do not surely pay."""
        return tuple(rule for rule, compared in self.rules.items() if not compared.pays)


def compare(
    settings: Mapping[str, Setting],
    table: CandidateTable,
    outcome: Outcome,
    best: int,
    scout_usd: Floats,
) -> Comparison:
    """Compare rules whose knobs are set.

    Parameters
    ----------
    settings : mapping of str to Setting
        At least one rule.
    table : CandidateTable
        Predictions for the queries that the knobs were set on.
    outcome : Outcome
        What happened there.
    best : int
        Position of the best single candidate.
    scout_usd : ndarray of shape (n,)
        What reading each query costs.

    Notes
    -----
    Every rule has one knob, set on the same queries, so that none is favoured for being more flexible. The
    differences are paired over queries.
    """
    rows = np.arange(len(table))
    costs = {rule: outcome.cost_usd[rows, s.policy.choose(table).index] for rule, s in settings.items()}
    paying = [rule for rule, s in settings.items() if pays(s, table, outcome, best, scout_usd)]
    admitted = paying or [rule for rule, s in settings.items() if s.reached] or list(settings)
    cheapest = min(admitted, key=lambda rule: float(costs[rule].mean()))
    compared = {
        rule: _compared(setting, rule in paying, costs[rule] - costs[cheapest])
        for rule, setting in settings.items()
    }
    return Comparison(_simplest(admitted, compared), compared)


def _compared(setting: Setting, pays: bool, excess: Floats) -> Compared:
    error = float(excess.std(ddof=1) / np.sqrt(len(excess))) if len(excess) > 1 else 0.0
    return Compared(
        setting.knob,
        setting.accuracy,
        setting.cost_usd,
        setting.target,
        setting.reached,
        pays,
        float(excess.mean()),
        error,
    )


def _simplest(admitted: Sequence[str], compared: Mapping[str, Compared]) -> str:
    near = [rule for rule in admitted if compared[rule].excess_usd <= compared[rule].standard_error_usd]
    return min(near, key=lambda rule: SIMPLEST.index(rule) if rule in SIMPLEST else len(SIMPLEST))
