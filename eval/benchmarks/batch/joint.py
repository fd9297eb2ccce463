"""One multiplier for the whole job against one threshold a line, at the same spend."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from eval.benchmarks.policies.scored import Scored, score, scored
from eval.benchmarks.probes.sets import load, read_ladder, thinned
from eval.benchmarks.row import Row, Setting
from router.allocation.allocation import Worth, most_accurate
from router.allocation.multiplier import Floats, Ints
from router.policies import CandidateTable, CheapestLikely

SPENDS = (0.25, 0.5, 0.75)
"""Budgets between the cheapest plan and the reference candidate for every line."""
DRAWS = 2000


def rows(setting: Setting) -> Iterator[Row]:
    """Accuracy gained on every set, averaged over three budgets, with an interval over questions."""
    for one in _sets(setting):
        gains, spends = zip(*(_gain(one, share) for share in SPENDS), strict=True)
        mean = np.mean(gains, axis=0)
        low, high = _interval(mean, one.groups)
        prices = "its own prices" if one.priced else "prices by accuracy"
        drift = ", ".join(f"{a / b:.2f}" for a, b in spends)
        yield Row(
            f"joint against per-line threshold, same expected spend: {one.name}"
            f" ({len(mean)} questions, {prices})",
            "a gain, with its interval",
            f"{100 * mean.mean():+.2f} points [{100 * low:+.2f}, {100 * high:+.2f}];"
            f" real spend joint/threshold {drift}",
            bool(low > 0) if high < 0 or low > 0 else None,
        )


def _sets(setting: Setting) -> Iterator[Scored]:
    outcomes = load(setting, "ladder")
    if outcomes is not None:
        outcomes = thinned(outcomes) if setting.quick else outcomes
        yield score("ladder", outcomes, read_ladder(setting, outcomes), priced=True)
    yield from scored(setting)


def _gain(one: Scored, share: float) -> tuple[Floats, tuple[float, float]]:
    """What joint allocation adds to each question, and the real spends."""
    table = one.table
    worth = Worth.of(table.success, table.cost_usd, table.eligible)
    least = worth.allocation(worth.cheapest()).cost_usd
    full = float(table.cost_usd[:, one.reference].sum())
    threshold = _threshold(table, least + share * max(0.0, full - least))
    spend = float(table.cost_usd[np.arange(len(table)), threshold].sum())
    joint = most_accurate(worth, max(spend, least)).index
    lines = np.arange(len(table))
    gain = one.outcome.correct[lines, joint] - one.outcome.correct[lines, threshold]
    cost = one.outcome.cost_usd
    return gain, (float(cost[lines, joint].sum()), float(cost[lines, threshold].sum()))


def _threshold(table: CandidateTable, budget_usd: float) -> Ints:
    """The choices of the threshold that spends most within a budget; the joint plan gets what it spends."""
    lines = np.arange(len(table))
    chosen = CheapestLikely(0.0).choose(table).index
    for bar in np.linspace(0.0, 1.0, 201):
        index = CheapestLikely(float(bar)).choose(table).index
        if table.cost_usd[lines, index].sum() <= budget_usd:
            chosen = index
    return chosen


def _interval(gain: Floats, groups: np.ndarray[tuple[int], np.dtype[np.str_]]) -> tuple[float, float]:
    """95% of a bootstrap over groups of questions."""
    _, place = np.unique(groups, return_inverse=True)
    total, count = np.bincount(place, gain), np.bincount(place)
    rng = np.random.default_rng(0)
    means = []
    for _ in range(DRAWS):
        drawn = rng.integers(0, len(total), len(total))
        means.append(total[drawn].sum() / count[drawn].sum())
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
