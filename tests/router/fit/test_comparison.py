"""The rule that serves is the cheapest that keeps the floor, and the simplest among equals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from router.fit.comparison import Comparison, compare
from router.fit.knob import Outcome, Setting, pays, set_knob
from router.policies import CandidateTable, CheapestLikely, Tolerance, Utility
from router.policies.table import Choice
from tests.router.worlds import draw_world

BEST = 2
N = 400


@dataclass(frozen=True)
class Stubborn:
    """Gives the first `share` of the queries (negative: the last) to the cheapest, the others to the best."""

    share: float
    rule: ClassVar[str] = "stubborn"
    knob: ClassVar[str | None] = "share"

    def choose(self, table: CandidateTable) -> Choice:
        """Choose."""
        value = np.zeros(table.success.shape)
        cheap = np.arange(len(table)) < round(abs(self.share) * len(table))
        cheap = cheap if self.share > 0 else cheap[::-1]
        value[cheap, 0], value[~cheap, BEST] = 1.0, 1.0
        return Choice(table, value, lambda i: "")


def world(accuracy: float = 1.0) -> tuple[CandidateTable, Outcome]:
    """Everybody is always right, or with this accuracy the cheapest one; prices 1, 2 and 10."""
    success, cost = np.full((N, 3), 0.9), np.tile([1.0, 2.0, 10.0], (N, 1))
    correct = np.ones((N, 3))
    correct[round(accuracy * N) :, 0] = 0.0
    table = CandidateTable(success, cost, ("a", "b", "c"))
    return table, Outcome.of(table, correct, cost)


def compared(shares: dict[str, float], accuracy: float = 1.0, scout_usd: float = 0.0) -> Comparison:
    """Rules by the shares that they give to the cheapest candidate."""
    table, outcome = world(accuracy)
    settings = {}
    for rule, share in shares.items():
        policy = Stubborn(share)
        settings[rule] = Setting(policy, share, *outcome.judge(policy.choose(table).index), 0.995)
    return compare(settings, table, outcome, BEST, np.full(N, scout_usd))


def test_the_cheapest_rule_is_chosen() -> None:
    found = compared({"cheapest-likely": 0.5, "tolerance": 0.6, "utility": 0.9})

    assert found.chosen == "utility"
    assert found.static == ()
    utility, simplest = found.rules["utility"], found.rules["cheapest-likely"]
    assert utility.excess_usd == 0.0
    assert utility.cost_usd == pytest.approx(0.9 * 1 + 0.1 * 10)
    assert simplest.excess_usd == pytest.approx(0.4 * 9)
    assert simplest.standard_error_usd == pytest.approx(9 * np.sqrt(0.4 * 0.6 / (N - 1)))


def test_of_equals_the_simplest_is_chosen() -> None:
    assert compared({"utility": 0.5, "tolerance": 0.5, "cheapest-likely": 0.5}).chosen == "cheapest-likely"
    apart = compared({"utility": 0.5, "tolerance": -0.49})  # they disagree on nearly all, so 1% is chance
    assert apart.chosen == "tolerance"
    assert apart.rules["tolerance"].excess_usd == pytest.approx(0.01 * 9)
    assert compared({"utility": 0.5, "tolerance": 0.48}).chosen == "utility"


def test_a_cheap_rule_that_misses_the_floor_is_not_chosen() -> None:
    found = compared({"cheapest-likely": 0.2, "utility": 1.0}, accuracy=0.5)

    assert not found.rules["utility"].reached
    assert found.chosen == "cheapest-likely"
    assert found.static == ("utility",)


def test_where_no_rule_pays_the_simplest_stands_and_none_serves() -> None:
    found = compared({"cheapest-likely": 0.1, "tolerance": 0.1}, scout_usd=5.0)

    assert set(found.static) == {"cheapest-likely", "tolerance"}
    assert found.chosen == "cheapest-likely"
    assert compared({"utility": 1.0}, accuracy=0.5).chosen == "utility"


def test_real_rules_are_compared_by_their_own_costs() -> None:
    table, outcome = draw_world(600, seed=4)
    rules = (CheapestLikely(), Tolerance(), Utility(1.0))
    settings = {policy.rule: set_knob(policy, table, outcome, BEST) for policy in rules}
    free = np.zeros(len(table))
    found = compare(settings, table, outcome, BEST, free)

    for rule, setting in settings.items():
        row = found.rules[rule]
        assert (row.cost_usd, row.accuracy) == (setting.cost_usd, setting.accuracy)
        assert row.pays == pays(setting, table, outcome, BEST, free)
    chosen = found.rules[found.chosen]
    assert chosen.reached
    assert chosen.excess_usd <= chosen.standard_error_usd
    cheapest = min(row.cost_usd for row in found.rules.values() if row.pays)
    assert chosen.cost_usd - chosen.excess_usd == pytest.approx(cheapest)
