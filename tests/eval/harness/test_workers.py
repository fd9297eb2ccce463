"""Trials side by side: the same results, and an end that says why."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace

import numpy as np
import pytest

from eval.harness import evaluate
from eval.harness.sample import Sample, prepare
from eval.harness.trial import make_split
from eval.harness.workers import LARGE, Task, perform_all, sensible_jobs
from probes.errors import BackendError, DataError
from tests.eval.sets import Synthetic, synthetic


@pytest.fixture(scope="module")
def world() -> Synthetic:
    return synthetic(300)


@pytest.fixture(scope="module")
def sample(world: Synthetic) -> Sample:
    return prepare(world.outcomes, world.activations)


def test_two_processes_find_what_one_finds(world: Synthetic) -> None:
    told: list[tuple[int, int]] = []
    one, two = (
        evaluate(
            world.outcomes,
            scout=world.activations,
            routers=["foresight", "length", "hull"],
            seeds=2,
            draws=50,
            jobs=jobs,
            progress=lambda done, steps: told.append((done, steps)),
        )
        for jobs in (1, 2)
    )
    assert one.default == two.default
    for name, router in one.routers.items():
        assert two.routers[name].auroc == pytest.approx(router.auroc, abs=1e-3, nan_ok=True)
        assert two.routers[name].cost == pytest.approx(router.cost, rel=0.02)
        np.testing.assert_allclose(two.routers[name].curve.accuracy, router.curve.accuracy, atol=0.02)
    assert told == [(done, 7) for done in range(1, 8)] * 2


def test_a_fault_inside_a_process_arrives_as_it_was(sample: Sample) -> None:
    spoilt = replace(sample, features=np.full_like(sample.features, np.nan))
    tasks = [Task("foresight", make_split(sample, seed, 0.005), seed) for seed in range(2)]
    with pytest.raises(DataError) as alone:
        list(perform_all(spoilt, tasks, 1))
    with pytest.raises(DataError) as beside:
        list(perform_all(spoilt, tasks, 2))
    assert (str(beside.value), beside.value.hint) == (str(alone.value), alone.value.hint)


def test_a_killed_process_is_told_with_its_remedy(sample: Sample) -> None:
    tasks = [Task("length", make_split(sample, seed, 0.005), seed) for seed in range(40)]
    trials = perform_all(sample, tasks, 2)
    next(trials)
    multiprocessing.active_children()[0].kill()
    with pytest.raises(BackendError, match="ended from outside") as fault:
        list(trials)
    assert "--jobs 1" in str(fault.value.hint)


def test_small_sets_are_not_worth_a_process() -> None:
    assert sensible_jobs(LARGE - 1) == 1
    assert sensible_jobs(LARGE) >= 1
