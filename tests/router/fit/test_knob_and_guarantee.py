"""Knobs set on the calibration split, and what is promised about them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from probes.errors import UsageError
from router.fit.guarantee import certify, p_value
from router.fit.knob import Outcome, Setting, knob_values, pays, set_knob, with_knob
from router.policies import CandidateTable, CheapestLikely, Fixed, Policy, Tolerance, Utility
from tests.router.worlds import draw_world

RULES: list[Policy] = [CheapestLikely(), Tolerance(), Utility(1.0)]


@pytest.mark.parametrize("policy", RULES, ids=lambda policy: policy.rule)
def test_the_knob_keeps_the_accuracy_at_least_cost(policy: Policy) -> None:
    table, outcome = draw_world(1500, seed=1)
    best = int(outcome.singles[0].argmax())
    setting = set_knob(policy, table, outcome, best)
    accuracy, cost = outcome.judge(setting.policy.choose(table).index)

    assert setting.reached
    assert (setting.accuracy, setting.cost_usd) == (accuracy, cost)
    assert accuracy >= outcome.singles[0][best] - 0.005
    assert cost < 0.8 * outcome.singles[1][best]
    for knob in knob_values(policy, table, 25):
        other = outcome.judge(with_knob(policy, knob).choose(table).index)
        assert other[0] < setting.target or other[1] >= 0.999 * cost


@pytest.mark.parametrize("policy", RULES, ids=lambda policy: policy.rule)
def test_the_knobs_range_reaches_from_the_cheapest_to_the_most_likely(policy: Policy) -> None:
    table, _ = draw_world(300, seed=2)
    choices = [with_knob(policy, knob).choose(table).index for knob in knob_values(policy, table)]

    assert any((choice == table.cost_usd.argmin(axis=1)).all() for choice in choices)
    assert any((choice == table.success.argmax(axis=1)).mean() > 0.97 for choice in choices)


def test_a_target_out_of_reach_is_said() -> None:
    table = CandidateTable(np.full((50, 2), 0.5), np.tile([1.0, 2.0], (50, 1)), ("a", "b"))
    outcome = Outcome.of(table, np.tile([0.0, 1.0], (50, 1)), table.cost_usd)
    setting = set_knob(CheapestLikely(), table, outcome, best=1)

    assert not setting.reached
    assert not pays(setting, table, outcome, 1, np.zeros(50))


def test_a_policy_without_knob_has_none_to_set() -> None:
    table, outcome = draw_world(50, seed=3)
    with pytest.raises(UsageError, match="no knob"):
        set_knob(Fixed("c0"), table, outcome, 0)


def test_missing_outcomes_are_filled_from_the_predictions() -> None:
    table = CandidateTable(np.array([[0.25, 0.75]]), np.array([[1.0, 2.0]]), ("a", "b"))
    outcome = Outcome.of(table, [[np.nan, 1.0]], [[np.nan, 5.0]])

    assert outcome.correct.tolist() == [[0.25, 1.0]]
    assert outcome.cost_usd.tolist() == [[1.0, 5.0]]
    assert outcome.known.tolist() == [[False, True]]


def test_routing_that_costs_more_than_it_saves_does_not_pay() -> None:
    table, outcome = draw_world(800, seed=4)
    best = int(outcome.singles[0].argmax())
    setting = set_knob(Tolerance(), table, outcome, best)

    assert pays(setting, table, outcome, best, np.zeros(800))
    assert not pays(setting, table, outcome, best, np.full(800, 10.0))


def test_a_certified_floor_is_missed_in_at_most_a_share_delta_of_calibrations() -> None:
    population, truth = draw_world(20_000, seed=5)
    best = int(truth.singles[0].argmax())
    floor = truth.singles[0][best] - 0.005
    rng = np.random.default_rng(6)
    missed, saved = 0, []
    for _ in range(60):
        rows = rng.choice(20_000, 500, replace=False)
        table, outcome = _rows(population, truth, rows)
        certified = certify(population.names[best], table, outcome, delta=0.1, ahead=None)
        accuracy, cost = truth.judge(certified.policy.choose(population).index)
        missed += accuracy < floor
        saved.append(1 - cost / truth.singles[1][best])

    assert missed <= 0.1 * 60 + 2 * np.sqrt(60 * 0.1 * 0.9)
    assert np.mean(saved) > 0.05


def test_a_promise_needs_data() -> None:
    table, outcome = draw_world(20, seed=7)
    best = int(outcome.singles[0].argmax())

    assert certify(table.names[best], table, outcome).knob == -1.0
    with pytest.raises(UsageError, match="delta"):
        certify(table.names[best], table, outcome, delta=0.0)


def test_evidence_grows_with_queries_and_shrinks_with_losses() -> None:
    assert p_value(np.zeros(2000), 0.005) < 0.001 < p_value(np.zeros(100), 0.005)
    assert p_value(np.full(2000, 0.01), 0.005) > 0.5
    clustered = np.repeat(np.array([1.0] + [0.0] * 199), 10)
    groups = np.repeat(np.arange(200), 10)
    assert p_value(clustered, 0.02, groups) > p_value(clustered, 0.02)


def _rows(table: CandidateTable, outcome: Outcome, rows: Any) -> tuple[CandidateTable, Outcome]:
    part = CandidateTable(table.success[rows], table.cost_usd[rows], table.names)
    return part, Outcome.of(part, outcome.correct[rows], outcome.cost_usd[rows])


def test_a_setting_knows_whether_it_reached_its_target() -> None:
    assert Setting(Fixed("a"), 0.0, 0.5, 1.0, 0.5).reached
    assert not Setting(Fixed("a"), 0.0, 0.49, 1.0, 0.5).reached
