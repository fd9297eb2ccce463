"""The budget policy against the optimum of the linear program."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import linprog

from probes.errors import UsageError
from router.policies import Budget, CandidateTable


def draw_table(n: int, k: int, seed: int, *, rounded: bool = False) -> CandidateTable:
    """Random candidates; rounded ones are full of ties."""
    rng = np.random.default_rng(seed)
    success = 1 / (
        1 + np.exp(rng.normal(size=(n, 1)) - np.linspace(-1, 2, k) + 0.3 * rng.normal(size=(n, k)))
    )
    cost = np.geomspace(1e-5, 1e-3, k) * rng.lognormal(0, 0.4, (n, k))
    if rounded:
        success, cost = success.round(1), np.tile(np.geomspace(1e-5, 1e-3, k).round(5), (n, 1))
    eligible = rng.random((n, k)) < 0.9
    eligible[:, 0] |= ~eligible.any(axis=1)
    return CandidateTable(success, cost, tuple(f"c{i}" for i in range(k)), eligible)


def linear_program(table: CandidateTable, budget: float) -> float:
    """Most success for the budget when queries may be parted among candidates."""
    n, k = table.success.shape
    one_each = sparse.csr_matrix((np.ones(n * k), (np.repeat(np.arange(n), k), np.arange(n * k))))
    upper = np.where(table.eligible, 1.0, 0.0).ravel()
    found = linprog(
        -table.success.ravel(),
        A_ub=sparse.csr_matrix(table.cost_usd.ravel()[None]),
        b_ub=[budget],
        A_eq=one_each,
        b_eq=np.ones(n),
        bounds=np.column_stack([np.zeros(n * k), upper]),
        method="highs",
    )
    return -float(found.fun)


def spread(table: CandidateTable) -> tuple[float, float]:
    """Least cost of the table, and that of its most likely candidates."""
    rows = np.arange(len(table))
    least = np.where(table.eligible, table.cost_usd, np.inf).min(axis=1).sum()
    likely = np.where(table.eligible, table.success, -1).argmax(axis=1)
    return float(least), float(table.cost_usd[rows, likely].sum())


@given(st.integers(0, 10_000), st.floats(0.0, 1.2), st.booleans())
def test_the_choice_is_the_optimum_but_for_one_query(seed: int, share: float, rounded: bool) -> None:
    table = draw_table(40, 4, seed, rounded=rounded)
    least, most = spread(table)
    budget = least + share * (most - least)
    choice = Budget(budget).choose(table)
    rows = np.arange(len(table))
    spent, success = table.cost_usd[rows, choice.index].sum(), table.success[rows, choice.index].sum()

    assert spent <= budget * (1 + 1e-12)
    assert success >= linear_program(table, budget) - 1.0 - 1e-9
    assert (choice.ranking[:, 0] == choice.index).all()


def test_large_jobs_spend_their_budget_and_reach_the_optimum() -> None:
    table = draw_table(3_000, 8, seed=1)
    least, most = spread(table)
    budget = 0.5 * (least + most)
    index = Budget(budget).choose(table).index
    rows = np.arange(len(table))

    assert table.cost_usd[rows, index].sum() == pytest.approx(budget, rel=0.01)
    assert table.success[rows, index].mean() == pytest.approx(linear_program(table, budget) / 3_000, abs=1e-4)


def test_a_sample_brackets_the_multiplier_of_very_large_jobs() -> None:
    table = draw_table(60_000, 4, seed=2)
    least, most = spread(table)
    budget = 0.3 * least + 0.7 * most
    index = Budget(budget).choose(table).index

    assert table.cost_usd[np.arange(60_000), index].sum() == pytest.approx(budget, rel=1e-3)


def test_a_budget_that_nothing_fits_is_refused_and_a_large_one_takes_the_most_likely() -> None:
    table = draw_table(50, 3, seed=3)
    least, most = spread(table)
    with pytest.raises(UsageError, match="cheapest candidates cost") as caught:
        Budget(0.9 * least).choose(table)
    assert caught.value.param == "budget_usd"

    index = Budget(2 * most).choose(table).index
    assert (index == np.where(table.eligible, table.success, -1).argmax(axis=1)).all()
