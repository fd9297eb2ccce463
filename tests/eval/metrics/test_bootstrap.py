"""Bootstrap intervals: paired, grouped, honest."""

from __future__ import annotations

import numpy as np
import pytest

from eval.metrics.bootstrap import GroupedBootstrap, interval


def test_resampled_means_equal_a_plain_loop() -> None:
    rng = np.random.default_rng(1)
    groups, values = rng.integers(0, 7, 30), rng.normal(size=(30, 2))
    names = np.unique(groups)
    draws = np.random.default_rng(5).integers(0, len(names), size=(40, len(names)))
    expected = [
        np.concatenate([values[groups == names[pick]] for pick in picks]).mean(axis=0) for picks in draws
    ]
    np.testing.assert_allclose(GroupedBootstrap(groups, draws=40, seed=5).means(values), expected)


def test_two_calls_are_paired() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=(200, 1))
    bootstrap = GroupedBootstrap(np.arange(200), draws=100)
    difference = bootstrap.means(values + 0.25) - bootstrap.means(values)
    np.testing.assert_allclose(difference, 0.25)


def test_chunks_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).normal(size=(50, 3))
    whole = GroupedBootstrap(range(50), draws=33).means(values)
    monkeypatch.setattr("eval.metrics.bootstrap._CELLS", 120)
    np.testing.assert_allclose(GroupedBootstrap(range(50), draws=33).means(values), whole, atol=1e-14)


def test_copies_of_a_question_do_not_shorten_the_interval() -> None:
    values = np.random.default_rng(4).normal(size=(100, 1))
    single = np.ptp(interval(GroupedBootstrap(range(100)).means(values)[:, 0]))
    tenfold = np.tile(values, (10, 1))
    grouped = np.ptp(interval(GroupedBootstrap(np.tile(np.arange(100), 10)).means(tenfold)[:, 0]))
    naive = np.ptp(interval(GroupedBootstrap(range(1000)).means(tenfold)[:, 0]))
    assert grouped == pytest.approx(single)
    assert naive < 0.5 * single


def test_the_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(6)
    covered = 0
    for seed in range(200):
        values = rng.exponential(size=(80, 1))
        low, high = interval(
            GroupedBootstrap(range(80), draws=400, seed=seed).means(values)[:, 0], confidence=0.9
        )
        covered += low <= 1 <= high
    assert 0.82 <= covered / 200 <= 0.95
