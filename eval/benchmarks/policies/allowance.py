"""A budget: how near to the optimum of the linear program, how fast, how exactly spent.

Seconds are of processor time, ours the best of three.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from eval.benchmarks.row import Row, Setting
from eval.tables import Floats
from router.policies import Budget, CandidateTable

CANDIDATES = 8


def rows(setting: Setting) -> Iterator[Row]:
    """Against scipy's HiGHS on one size, alone on a larger one; dearer candidates are better."""
    n = 1_000 if setting.quick else 100_000
    table = random_table(n, seed=0)
    budget = 0.3 * float(table.cost_usd.max(axis=1).sum())
    took, accuracy, spent = _ours(table, budget)
    reference_took, optimum = _highs(table, budget)
    gap = optimum - accuracy
    yield Row(
        f"budget, {n:,} × {CANDIDATES}: accuracy below the optimum of the linear program (scipy HiGHS)",
        "within 1e-4",
        f"{gap:.1e}",
        abs(gap) <= 1e-4,
    )
    what = f"budget, {n:,} × {CANDIDATES}: times faster than scipy HiGHS (interior point)"
    yield Row(
        what,
        ">= 50",
        f"{reference_took / took:,.0f} ({reference_took:.2f} s against {took:.4f} s of processor time)",
        reference_took >= 50 * took,
    )
    yield Row(
        f"budget, {n:,} × {CANDIDATES}: spend",
        "within 1% of B",
        f"{spent / budget:.4%} of B",
        0.99 <= spent / budget <= 1,
    )
    if not setting.quick:
        took, _, spent = _ours(
            large := random_table(1_000_000, seed=1), 0.3 * float(large.cost_usd.max(axis=1).sum())
        )
        yield Row(f"budget, 1,000,000 × {CANDIDATES}", "< 2 s", f"{took:.2f} s", took < 2)


def random_table(n: int, seed: int) -> CandidateTable:
    """n queries of random difficulty, candidates of rising price and strength."""
    rng = np.random.default_rng(seed)
    strength = np.linspace(-1.5, 1.5, CANDIDATES) + rng.normal(0, 0.3, (n, CANDIDATES))
    success = 1 / (1 + np.exp(2 * rng.normal(size=(n, 1)) - 2 * strength))
    cost = np.geomspace(1e-5, 1e-2, CANDIDATES) * rng.lognormal(0, 0.5, (n, CANDIDATES))
    return CandidateTable(success, cost, tuple(f"c{k}" for k in range(CANDIDATES)))


def _ours(table: CandidateTable, budget: float) -> tuple[float, float, float]:
    times = []
    index = np.zeros(len(table), dtype=np.intp)
    for _ in range(3):
        began = time.process_time()
        index = Budget(budget).choose(table).index
        times.append(time.process_time() - began)
    at = np.arange(len(table)), index
    return min(times), float(table.success[at].mean()), float(table.cost_usd[at].sum())


def _highs(table: CandidateTable, budget: float) -> tuple[float, float]:
    """Seconds, and the mean success of the relaxed optimum: shares x, rows sum to 1, cost at most B.

    The interior-point method: on this program far faster than HiGHS's own choice, the dual simplex, so that
    the comparison is with the best that it can do.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_matrix, identity, kron

    n, k = table.success.shape
    one_each = kron(identity(n, format="csr"), np.ones((1, k)), format="csr")
    # Scaled to the budget, so that the solver's tolerance means something.
    cost: Floats = (table.cost_usd / budget).ravel()
    began = time.process_time()
    found = linprog(
        -table.success.ravel(),
        A_ub=csr_matrix(cost[None, :]),
        b_ub=[1.0],
        A_eq=one_each,
        b_eq=np.ones(n),
        bounds=(0, None),
        method="highs-ipm",
    )
    return time.process_time() - began, float(-found.fun / n)
