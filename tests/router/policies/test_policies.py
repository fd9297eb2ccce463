"""Policies: what must hold for every table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from probes.errors import UsageError
from router.configuration.settings import PolicySettings
from router.policies import (
    POLICIES,
    CandidateTable,
    CheapestLikely,
    Fixed,
    Oracle,
    Policy,
    QualityFloor,
    RandomMix,
    Tolerance,
    Utility,
    policy_from,
)

LEVELS = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5, 0.7, 0.9, 1.0])
COSTS = st.sampled_from([0.0, 0.001, 0.001, 0.002, 0.01, 0.5])
POLICY = st.one_of(
    LEVELS.map(CheapestLikely),
    LEVELS.map(Tolerance),
    st.sampled_from([0.0, 0.001, 0.02, 5.0]).map(Utility),
    st.sampled_from([-1.0, -0.2, 0.0, 0.3]).map(lambda slack: QualityFloor("c0", slack)),
    st.just(Fixed("c1")),
    st.integers(0, 9).map(lambda seed: RandomMix(seed=seed)),
)
DETERMINED = st.one_of(LEVELS.map(CheapestLikely), LEVELS.map(Tolerance), st.just(Utility(0.02)))


@st.composite
def tables(draw: st.DrawFn) -> CandidateTable:
    """Small tables full of ties; each query has somebody to answer it."""
    n, k = draw(st.integers(1, 6)), draw(st.integers(2, 5))
    success = draw(hnp.arrays(np.float64, (n, k), elements=LEVELS))
    cost = draw(hnp.arrays(np.float64, (n, k), elements=COSTS))
    eligible = draw(hnp.arrays(np.bool_, (n, k)))
    eligible[np.arange(n), draw(hnp.arrays(np.intp, n, elements=st.integers(0, k - 1)))] = True
    return CandidateTable(success, cost, tuple(f"c{i}" for i in range(k)), eligible)


def permuted(table: CandidateTable, order: np.ndarray[Any, Any]) -> CandidateTable:
    """The same table with its candidates in another order."""
    names = tuple(table.names[i] for i in order)
    return CandidateTable(table.success[:, order], table.cost_usd[:, order], names, table.eligible[:, order])


def chosen(policy: Policy, table: CandidateTable) -> list[str]:
    """Names of the chosen candidates."""
    return [table.names[i] for i in policy.choose(table).index]


@given(tables(), POLICY)
def test_only_eligible_candidates_are_chosen_and_rank_before_the_others(
    table: CandidateTable, policy: Policy
) -> None:
    choice = policy.choose(table)
    rows = np.arange(len(table))

    assert table.eligible[rows, choice.index].all()
    assert (choice.ranking[:, 0] == choice.index).all()
    assert (np.sort(choice.ranking, axis=1) == np.arange(len(table.names))).all()
    ranked = np.take_along_axis(table.eligible, choice.ranking, axis=1)
    assert (np.diff(ranked.astype(int), axis=1) <= 0).all()
    assert all(choice.reason)


@given(tables(), POLICY, st.randoms(use_true_random=False))
def test_the_order_of_the_pool_never_matters(table: CandidateTable, policy: Policy, random: Any) -> None:
    order = np.array(random.sample(range(len(table.names)), len(table.names)))

    assert chosen(policy, table) == chosen(policy, permuted(table, order))


@given(tables(), POLICY)
def test_a_query_is_decided_alone_as_in_a_batch(table: CandidateTable, policy: Policy) -> None:
    if isinstance(policy, RandomMix):
        return
    one = CandidateTable(table.success[:1], table.cost_usd[:1], table.names, table.eligible[:1])

    assert chosen(policy, one) == chosen(policy, table)[:1]


@given(tables(), POLICY)
def test_the_next_in_the_ranking_is_the_choice_without_the_first(
    table: CandidateTable, policy: Policy
) -> None:
    if isinstance(policy, RandomMix | Tolerance | QualityFloor):
        return  # chance, and bars that move with the candidates that are left
    choice, others = policy.choose(table), table.eligible.copy()
    others[np.arange(len(table)), choice.index] = False
    for i in np.flatnonzero(others.any(axis=1)):
        row = slice(i, i + 1)
        rest = CandidateTable(table.success[row], table.cost_usd[row], table.names, others[row])

        assert policy.choose(rest).index[0] == choice.ranking[i, 1]


@given(tables(), DETERMINED)
def test_equal_success_goes_to_the_cheapest(table: CandidateTable, policy: Policy) -> None:
    level = CandidateTable(np.full_like(table.success, 0.6), table.cost_usd, table.names, table.eligible)
    index = policy.choose(level).index
    least = np.where(table.eligible, table.cost_usd, np.inf).min(axis=1)

    assert (table.cost_usd[np.arange(len(table)), index] == least).all()


@given(tables(), LEVELS, LEVELS)
def test_more_tolerance_never_costs_more(table: CandidateTable, a: float, b: float) -> None:
    assert (_cost(Tolerance(max(a, b)), table) <= _cost(Tolerance(min(a, b)), table)).all()


@given(tables(), LEVELS, LEVELS)
def test_a_higher_bar_never_costs_less_where_somebody_reaches_it(
    table: CandidateTable, a: float, b: float
) -> None:
    low, high = min(a, b), max(a, b)
    reached = ((table.success >= high) & table.eligible).any(axis=1)

    assert (_cost(CheapestLikely(low), table) <= _cost(CheapestLikely(high), table))[reached].all()


@given(tables(), st.sampled_from([0.0, 0.01, 0.3]), st.sampled_from([0.5, 2.0, 90.0]))
def test_a_more_valuable_answer_never_gets_a_less_likely_candidate(
    table: CandidateTable, low: float, high: float
) -> None:
    rows = np.arange(len(table))
    careless, careful = Utility(low).choose(table).index, Utility(high).choose(table).index

    assert (table.success[rows, careful] >= table.success[rows, careless]).all()


@given(tables(), DETERMINED, st.integers(0, 4), st.sampled_from([0.0, 0.0005]))
def test_a_lower_price_never_loses_a_chosen_candidate_its_place(
    table: CandidateTable, policy: Policy, k: int, price: float
) -> None:
    k %= len(table.names)
    cost = table.cost_usd.copy()
    cost[:, k] = np.minimum(cost[:, k], price)
    before = policy.choose(table).index == k
    after = policy.choose(CandidateTable(table.success, cost, table.names, table.eligible)).index == k

    assert (after | ~before).all()


@given(tables(), POLICY)
def test_nobody_beats_the_oracle(table: CandidateTable, policy: Policy) -> None:
    correct = np.round(table.success)
    everybody = CandidateTable(table.success, table.cost_usd, table.names)
    rows = np.arange(len(table))
    best = Oracle(correct).choose(everybody).index
    other = policy.choose(everybody).index
    as_right = correct[rows, other] == correct[rows, best]

    assert (correct[rows, best] >= correct[rows, other]).all()
    assert (table.cost_usd[rows, best] <= table.cost_usd[rows, other])[as_right].all()


@given(tables(), st.sampled_from([-1.0, -0.2, 0.0]), st.sampled_from([0.0, 0.2, 1.0]))
def test_more_slack_never_costs_more_and_none_never_leaves_the_reference(
    table: CandidateTable, low: float, high: float
) -> None:
    assert (_cost(QualityFloor("c0", high), table) <= _cost(QualityFloor("c0", low), table)).all()
    for i, name in enumerate(chosen(QualityFloor("c0", -1.1), table)):
        assert name == "c0" or not table.eligible[i, 0]


def test_time_has_a_price() -> None:
    table = CandidateTable(
        np.array([[0.9, 0.8]]), np.array([[0.0, 0.0]]), ("slow", "fast"), latency_s=np.array([[9.0, 1.0]])
    )

    assert chosen(Utility(1.0), table) == ["slow"]
    assert chosen(Utility(1.0, latency_usd_per_s=0.1), table) == ["fast"]


def test_reasons_tell_the_numbers() -> None:
    table = CandidateTable(np.array([[0.5, 0.8, 0.9]]), np.array([[1e-4, 2e-4, 3e-4]]), ("s", "m", "l"))

    assert CheapestLikely(0.7).choose(table).reason[0] == "cheapest of 2 with success ≥ 0.70 (0.80)"
    assert CheapestLikely(0.95).choose(table).reason[0] == "nobody reaches 0.95; the most likely (0.90)"
    assert Fixed("m").choose(table).reason[:] == ["always m"]
    assert "highest 0.90" in Tolerance(0.1).choose(table).reason[0]


def test_random_shares_follow_the_weights() -> None:
    table = CandidateTable(np.full((4000, 3), 0.5), np.ones((4000, 3)), ("a", "b", "c"))
    index = RandomMix({"a": 3, "c": 1}, seed=1).choose(table).index

    assert np.bincount(index, minlength=3) / 4000 == pytest.approx([0.75, 0.0, 0.25], abs=0.03)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        pytest.param({"success": np.ones((2, 3))}, "success", id="shape"),
        pytest.param({"success": np.array([[0.5, np.nan]])}, "success", id="unknown success"),
        pytest.param({"cost_usd": np.array([[0.5, np.inf]])}, "cost_usd", id="unknown cost"),
        pytest.param({"eligible": np.zeros((1, 2), dtype=bool)}, "eligible", id="nobody"),
    ],
)
def test_a_broken_table_is_refused(change: dict[str, Any], param: str) -> None:
    good: dict[str, Any] = {"success": np.ones((1, 2)), "cost_usd": np.ones((1, 2)), "names": ("a", "b")}
    with pytest.raises(UsageError) as caught:
        CandidateTable(**good | change)

    assert caught.value.param == param


def test_unknown_numbers_of_ineligible_candidates_do_not_matter() -> None:
    table = CandidateTable(
        np.array([[np.nan, 0.5]]), np.array([[np.nan, 1.0]]), ("a", "b"), np.array([[False, True]])
    )

    assert chosen(CheapestLikely(0.9), table) == ["b"]


def test_settings_become_policies_and_fitted_knobs_fill_the_gaps() -> None:
    fitted = {"cheapest-likely": {"min_success": 0.62}, "utility": {"value_usd": 0.003}}

    assert policy_from(PolicySettings()) == CheapestLikely()
    assert policy_from(PolicySettings(), fitted) == CheapestLikely(0.62)
    assert policy_from(PolicySettings(min_success=0.8), fitted) == CheapestLikely(0.8)
    assert policy_from(PolicySettings(rule="utility", latency_usd_per_s=1), fitted) == Utility(0.003, 1)
    assert policy_from(PolicySettings(rule="fixed", candidate="a")) == Fixed("a")
    singles = {"cheapest-likely", "tolerance", "utility", "quality-floor", "fixed", "random"}
    assert set(POLICIES) == singles | {"budget", "cascade"}


def test_a_knob_that_nobody_set_is_named() -> None:
    with pytest.raises(UsageError, match="needs value_usd") as caught:
        policy_from(PolicySettings(rule="utility"))

    assert caught.value.param == "policy.value_usd"


def _cost(policy: Policy, table: CandidateTable) -> np.ndarray[Any, Any]:
    return table.cost_usd[np.arange(len(table)), policy.choose(table).index]


@given(tables(), st.lists(st.sampled_from([0.0, 0.001, 0.02, 5.0]), min_size=1, max_size=4))
def test_a_sweep_of_utilities_is_every_single_choice(table: CandidateTable, values: list[float]) -> None:
    swept = Utility.sweep(table, np.array(values))
    for value, chosen in zip(values, swept, strict=True):
        assert chosen.tolist() == Utility(value).choose(table).index.tolist()
