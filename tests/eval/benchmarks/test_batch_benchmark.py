"""The benchmark of batches: its model of a cluster obeys the laws that need no simulation."""

from __future__ import annotations

from pathlib import Path

import pytest

from eval.benchmarks.batch import planning
from eval.benchmarks.batch.simulation import Cluster, simulate
from eval.benchmarks.row import Setting

NEVER_H = 1e12


def test_a_fast_driver_keeps_the_gpus_at_their_peak() -> None:
    cluster = Cluster(4, driver_rate=1e9, mtbf_h=NEVER_H)
    found = simulate(cluster, 100_000)
    peak = 4 * cluster.full_rate * cluster.slots / (cluster.slots + cluster.half)
    assert found.makespan_s >= 100_000 / peak
    assert found.makespan_s == pytest.approx(100_000 / peak, rel=0.1)
    assert found.busy > 0.9


def test_a_slow_driver_is_the_whole_makespan() -> None:
    found = simulate(Cluster(100, driver_rate=50, mtbf_h=NEVER_H), 100_000)
    assert found.makespan_s == pytest.approx(2000, rel=0.1)
    assert found.busy < 0.2


def test_failures_cost_time_and_lose_no_line() -> None:
    calm = simulate(Cluster(50, mtbf_h=NEVER_H), 200_000)
    rough = simulate(Cluster(50, mtbf_h=1.0), 200_000)
    assert rough.repeated > 0 == calm.repeated
    assert rough.makespan_s > calm.makespan_s


def test_nothing_to_do_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        simulate(Cluster(0), 10)


def test_the_plan_of_a_large_job_is_measured(tmp_path: Path) -> None:
    plan, growth = planning.rows(Setting(None, tmp_path, quick=True))
    assert "100,000 lines" in plan.what
    assert "exponent" in growth.measured
