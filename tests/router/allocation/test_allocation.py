"""Joint allocation against the linear program, and the plan while money is being spent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import linprog

from probes.errors import UsageError
from router.allocation.allocation import Worth, least_costly, most_accurate
from router.allocation.multiplier import BLOCK, best
from router.allocation.preview import preview
from router.allocation.spending import ForAccuracy, ForBudget, Spending

NOBODY = np.array([], dtype=np.intp)


def draw(n: int, k: int, seed: int, *, rounded: bool = False) -> Worth:
    """Random lines; rounded ones are full of ties."""
    rng = np.random.default_rng(seed)
    success = rng.beta(2, 2, (n, k)) * np.linspace(0.5, 1, k)
    cost = np.geomspace(1e-5, 1e-3, k) * rng.lognormal(0, 0.4, (n, k))
    if rounded:
        success, cost = success.round(1), np.tile(np.geomspace(1e-5, 1e-3, k).round(5), (n, 1))
    eligible = rng.random((n, k)) < 0.9
    eligible[:, 0] |= ~eligible.any(axis=1)
    return Worth.of(success, cost, eligible)


def least_cost(worth: Worth, floor: float) -> float:
    """Least cost at the floor when lines may be parted among candidates."""
    k, n = worth.success.shape
    able = worth.able.T
    success = np.where(able, worth.success.T, 0.0).ravel()
    one_each = sparse.csr_matrix((np.ones(n * k), (np.repeat(np.arange(n), k), np.arange(n * k))))
    found = linprog(
        worth.cost_usd.T.ravel() * 1e4,
        A_ub=sparse.csr_matrix(-success[None]),
        b_ub=[-floor * n],
        A_eq=one_each,
        b_eq=np.ones(n),
        bounds=np.column_stack([np.zeros(n * k), able.ravel().astype(float)]),
        method="highs",
    )
    return float(found.fun) / 1e4


@settings(deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 1.0), st.booleans())
def test_a_floor_is_reached_at_the_least_cost_but_for_one_line(
    seed: int, share: float, rounded: bool
) -> None:
    worth = draw(40, 4, seed, rounded=rounded)
    low = worth.allocation(worth.cheapest()).accuracy
    high = worth.success.max(axis=0).mean()
    floor = low + share * (high - low)
    found = least_costly(worth, floor)
    assert found.accuracy >= floor - 1e-9
    assert worth.able[found.index, np.arange(40)].all()
    dearest_line = float(np.ptp(worth.cost_usd, axis=0).max())
    assert found.cost_usd <= least_cost(worth, floor) + dearest_line + 1e-9


@settings(deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 1.5), st.booleans())
def test_a_budget_is_kept_and_money_is_never_worth_less_accuracy(
    seed: int, share: float, rounded: bool
) -> None:
    worth = draw(60, 4, seed, rounded=rounded)
    least = worth.allocation(worth.cheapest()).cost_usd
    poor, rich = (most_accurate(worth, least * (1 + part)) for part in (share, 2 * share))
    assert poor.cost_usd <= least * (1 + share) * (1 + 1e-9)
    assert rich.accuracy >= poor.accuracy - 1 / 60


def test_budget_and_floor_are_duals() -> None:
    worth = draw(5000, 5, 3)
    bought = most_accurate(worth, 1.0)
    again = least_costly(worth, bought.accuracy)
    assert again.cost_usd == pytest.approx(bought.cost_usd, rel=1e-3)
    assert again.multiplier == pytest.approx(bought.multiplier, rel=1e-2)


def test_a_large_job_with_barely_enough_money_is_planned() -> None:
    worth = draw(50_000, 3, 1)
    least = worth.allocation(worth.cheapest()).cost_usd
    assert most_accurate(worth, least).cost_usd == pytest.approx(least)


def test_a_budget_below_the_cheapest_plan_says_what_would_do() -> None:
    worth = draw(10, 3, 0)
    least = worth.allocation(worth.cheapest()).cost_usd
    with pytest.raises(UsageError, match="cheapest plan is expected to cost") as told:
        most_accurate(worth, least / 2)
    assert f"{least * 1.01:.4g}" in str(told.value.hint)


def test_a_floor_that_nobody_reaches_says_what_is_reached() -> None:
    worth = draw(10, 3, 0)
    with pytest.raises(UsageError, match=f"{worth.success.max(axis=0).mean():.4f}"):
        least_costly(worth, 0.999)


def test_a_line_that_nobody_can_answer_is_refused() -> None:
    with pytest.raises(UsageError, match="no eligible candidate"):
        Worth.of(np.ones((2, 2)), np.ones((2, 2)), np.array([[True, True], [False, False]]))


@pytest.mark.parametrize("dearer", [0.6, 1.0, 1.7])
def test_the_budget_holds_when_answers_cost_other_than_expected(dearer: float) -> None:
    worth = draw(3000, 4, 7)
    least = worth.allocation(worth.cheapest()).cost_usd
    budget = 5 * least
    spending = Spending(worth, ForBudget(budget), np.full(3000, -1))
    rng = np.random.default_rng(0)
    for begin in range(0, 3000, 25):
        index = spending.plan(np.arange(begin, 3000), NOBODY, NOBODY)[:25]
        rows = np.arange(begin, begin + 25)
        spending.paid(rows, index, worth.cost_usd[index, rows] * dearer * rng.gamma(2, 0.5, 25))
    assert budget * 0.98 <= spending.spent_usd <= budget * 1.005


def test_lines_that_choose_by_themselves_are_paid_from_the_same_purse() -> None:
    worth = draw(200, 3, 5)
    own = np.full(200, -1)
    own[:50] = worth.success[:, :50].argmax(axis=0)
    budget = 3 * worth.allocation(worth.cheapest()).cost_usd + 0.05
    index = Spending(worth, ForBudget(budget), own).plan(np.arange(200), NOBODY, NOBODY)
    assert (index[:50] == own[:50]).all()
    assert worth.allocation(index).cost_usd <= budget


def test_a_floor_is_reached_over_the_whole_job() -> None:
    worth = draw(1000, 3, 9)
    floor = float(worth.success.max(axis=0).mean()) - 0.05
    spending = Spending(worth, ForAccuracy(floor), np.full(1000, -1))
    chosen = np.empty(1000, dtype=np.intp)
    for begin in range(0, 1000, 250):
        rows = np.arange(begin, begin + 250)
        chosen[rows] = spending.plan(np.arange(begin, 1000), NOBODY, NOBODY)[:250]
        spending.paid(rows, chosen[rows], worth.cost_usd[chosen[rows], rows] * 1.3)
    assert worth.allocation(chosen).accuracy >= floor - 1e-9


def test_the_preview_shows_the_ends_and_a_rising_frontier() -> None:
    worth = draw(2000, 4, 2)
    shown = preview(worth, ("a", "b", "c", "d"), 500)
    costs = [point.cost_usd for point in shown.frontier]
    gains = [point.accuracy for point in shown.frontier]
    assert costs == sorted(costs)
    assert gains == sorted(gains)
    assert shown.frontier[0] == shown.cheapest
    assert shown.best.accuracy == max(point.accuracy for point in shown.singles)
    assert all(sum(point.lines.values()) == 2000 for point in shown.frontier)


def test_the_intervals_hold_what_they_promise() -> None:
    worth = draw(400, 3, 4)
    point = preview(worth, ("a", "b", "c")).cheapest
    rng = np.random.default_rng(0)
    chance = worth.success[worth.cheapest(), np.arange(400)]
    seen = (rng.random((4000, 400)) < chance).mean(axis=1)
    inside = ((seen >= point.accuracy_interval[0]) & (seen <= point.accuracy_interval[1])).mean()
    assert 0.93 < inside < 0.97


def test_more_lines_than_are_looked_at_together_choose_as_each_alone() -> None:
    rng = np.random.default_rng(5)
    success, cost = rng.random((3, 2 * BLOCK + 7)), rng.random((3, 2 * BLOCK + 7))
    index, paid = best(success, cost, 0.7)
    lines = np.arange(success.shape[1])
    np.testing.assert_array_equal(index, (success - 0.7 * cost).argmax(axis=0))
    np.testing.assert_array_equal(paid, cost[index, lines])


def test_money_is_held_back_for_what_is_in_flight_and_given_back() -> None:
    n = 400
    worth = Worth.of(np.tile([0.2, 0.9], (n, 1)), np.tile([0.001, 0.01], (n, 1)))
    rows = np.arange(n)
    spending = Spending(worth, ForBudget(2.2), np.full(n, -1))
    first = spending.plan(rows, NOBODY, NOBODY)
    assert worth.allocation(first).cost_usd == pytest.approx(2.2, abs=0.01)
    flying = rows[:100]
    cautious = spending.plan(rows[100:], flying, first[:100])
    assert (cautious == 1).sum() < (first[100:] == 1).sum()
    for _ in range(3):  # real costs are as expected: the spread shrinks, and little is held back
        spending.paid(flying, first[:100], worth.cost_usd[first[:100], flying])
    assert spending.spread < 0.3
