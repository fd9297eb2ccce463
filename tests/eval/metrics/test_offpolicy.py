"""What another policy would have earned: unbiased, with intervals that hold, where the log allows it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eval.offpolicy import Estimate, Log, certain, doubly_robust, ips, replay
from probes.errors import DataError
from router.policies import CandidateTable, Explore, Utility

N, K = 600, 3


def world(seed: int) -> tuple[Log, Any, float]:
    """A cheap policy's log with exploration, a target that always asks the last, and its true mean."""
    rng = np.random.default_rng(seed)
    truth = 1 / (1 + np.exp(rng.normal(size=(N, 1)) - np.array([-0.5, 0.5, 1.5])))
    table = CandidateTable(truth, np.tile([1.0, 2.0, 4.0], (N, 1)), tuple("abc"))
    choice = Explore(Utility(3.0), 0.3, seed=seed + 10_000).choose(table)
    assert choice.propensity is not None
    at = np.arange(N), choice.index
    reward = (rng.random(N) < truth[at]).astype(float)
    forecast = np.clip(truth + rng.normal(0, 0.1, truth.shape), 0, 1)
    target = certain(np.full(N, 2), K)
    return Log(choice.index, choice.propensity[at], reward, forecast), target, float(truth[:, 2].mean())


def estimates(estimator: str, repeats: int = 300) -> tuple[float, float, float]:
    """Mean error, share of intervals that hold the truth, mean width."""
    errors, held, widths = [], [], []
    for seed in range(repeats):
        log, target, truth = world(seed)
        found: Estimate = {"ips": ips, "dr": doubly_robust}[estimator](log, target)
        errors.append(found.value - truth)
        held.append(found.low <= truth <= found.high)
        widths.append(found.high - found.low)
    return float(np.mean(errors)), float(np.mean(held)), float(np.mean(widths))


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    for estimator in ("ips", "dr"):
        error, coverage, _ = estimates(estimator)
        assert abs(error) < 0.015, estimator
        assert 0.90 <= coverage <= 0.99, estimator


def test_good_forecasts_make_the_doubly_robust_interval_narrower() -> None:
    assert estimates("dr", 40)[2] < estimates("ips", 40)[2]


def test_doubly_robust_is_right_even_with_useless_forecasts() -> None:
    errors = []
    for seed in range(300):
        log, target, truth = world(seed)
        wrong = Log(log.chosen, log.propensity, log.reward, np.full((N, K), 0.9))
        errors.append(doubly_robust(wrong, target).value - truth)
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(len(errors)) + 0.002


def test_replay_is_right_on_a_uniform_log_and_wrong_on_a_picky_one() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(50_000) < 0.5
    truth = np.where(hard[:, None], [0.2, 0.4], [0.9, 1.0])
    uniform = rng.integers(0, 2, 50_000)
    target = certain(np.ones(50_000, dtype=np.intp), 2)

    def log(chosen: Any, propensity: Any) -> Log:
        return Log(chosen, propensity, (rng.random(50_000) < truth[np.arange(50_000), chosen]).astype(float))

    fair = replay(log(uniform, np.full(50_000, 0.5)), target)
    assert fair.low <= 0.7 <= fair.high
    share = np.where(hard, 0.9, 0.1)  # the second candidate is asked where it is hard
    chosen = (rng.random(50_000) < share).astype(np.intp)
    picky = log(chosen, np.where(chosen == 1, share, 1 - share))
    assert replay(picky, target).high < 0.6
    assert ips(picky, target).low <= 0.7 <= ips(picky, target).high


def test_by_hand() -> None:
    log = Log(
        np.array([0, 1]), np.array([0.5, 0.25]), np.array([1.0, 0.0]), np.array([[0.5, 0.5], [0.5, 0.5]])
    )
    target = certain(np.array([0, 1]), 2)
    assert ips(log, target).value == pytest.approx(2 / 6)  # (1 · 2 + 0 · 4) / (2 + 4)
    assert doubly_robust(log, target).value == pytest.approx((0.5 + 2 * 0.5 + 0.5 - 4 * 0.5) / 2)
    assert replay(log, target).value == 0.5
    assert ips(log, target).decisions == pytest.approx(36 / 20)


def test_a_log_that_cannot_answer_is_refused() -> None:
    with pytest.raises(DataError, match=r"Decision 1: its propensity is 0\.0") as caught:
        Log(np.array([0, 0]), np.array([1.0, 0.0]), np.zeros(2))
    assert "explore" in str(caught.value.hint)
    with pytest.raises(DataError, match="three columns"):
        Log(np.array([0]), np.ones(2), np.zeros(1))
    with pytest.raises(DataError, match="not finite"):
        Log(np.array([0]), np.ones(1), np.array([np.nan]))
    log = Log(np.array([0]), np.ones(1), np.zeros(1))
    with pytest.raises(DataError, match="forecast"):
        doubly_robust(log, np.ones((1, 1)))
    with pytest.raises(DataError, match="rows that sum to 1"):
        ips(log, np.zeros((1, 2)))
    assert np.isnan(replay(log, certain(np.array([1]), 2)).value)
