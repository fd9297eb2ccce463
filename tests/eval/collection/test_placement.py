"""Intervals on AUROC differences: equal to DeLong's, and groups stay together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.metrics.placement import difference, influence, mean_influence
from eval.tables import Floats
from probes.metrics import auroc


def scored(n: int, seed: int) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < 0.4).astype(float)
    return (label + rng.normal(size=n)).round(1), label


def delong_variance(score: Floats, label: Floats) -> float:
    """The textbook's: variances of placements within each class."""
    hits, misses = score[label == 1], score[label == 0]
    wins = (hits[:, None] > misses) + 0.5 * (hits[:, None] == misses)
    return float(wins.mean(axis=1).var() / len(hits) + wins.mean(axis=0).var() / len(misses))


@settings(max_examples=25, deadline=None)
@given(st.integers(20, 120), st.integers(0, 1000))
def test_influences_are_delongs(n: int, seed: int) -> None:
    score, label = scored(n, seed)
    found = influence(score, label)
    if np.isnan(found.auroc):
        assert len(set(label)) == 1
        return
    assert found.auroc == pytest.approx(auroc(score, label), abs=1e-12)
    assert found.rows.sum() == pytest.approx(0, abs=1e-9)
    assert np.square(found.rows).sum() == pytest.approx(delong_variance(score, label), rel=1e-9)


def test_rates_count_as_so_many_successes_and_failures() -> None:
    score, _ = scored(60, 0)
    rate = np.random.default_rng(1).integers(0, 6, 60) / 5
    assert influence(score, rate).auroc == pytest.approx(auroc(score, rate), abs=1e-12)


def test_the_interval_is_the_bootstraps_about() -> None:
    rng = np.random.default_rng(0)
    label = (rng.random(400) < 0.5).astype(float)
    ours, theirs = (label + scale * rng.normal(size=400) for scale in (1.0, 1.4))
    mean, edges = difference([influence(ours, label)], [influence(theirs, label)], [np.arange(400)])
    draws = rng.integers(400, size=(600, 400))
    drawn = [auroc(ours[rows], label[rows]) - auroc(theirs[rows], label[rows]) for rows in draws]
    assert mean == pytest.approx(auroc(ours, label) - auroc(theirs, label))
    np.testing.assert_allclose(edges, np.percentile(drawn, [2.5, 97.5]), atol=0.012)


def test_a_question_that_is_tested_twice_counts_once() -> None:
    score, label = scored(200, 3)
    other = score + np.random.default_rng(4).normal(size=200)
    ours, theirs, names = influence(score, label), influence(other, label), np.arange(200)
    _, once = difference([ours], [theirs], [names])
    _, twice = difference([ours, ours], [theirs, theirs], [names, names])
    _, apart = difference([ours, ours], [theirs, theirs], [names, names + 200])
    np.testing.assert_allclose(once, twice)
    assert apart.high - apart.low == pytest.approx((once.high - once.low) / np.sqrt(2))


def test_strata_count_once_each_and_one_class_is_left_out() -> None:
    score, label = scored(90, 5)
    strata = np.repeat(["a", "b", "c"], 30)
    label[strata == "c"] = 1.0
    found = mean_influence(score[:, None], label[:, None], strata)
    inside = [auroc(score[strata == s], label[strata == s]) for s in "ab"]
    assert found.auroc == pytest.approx(np.mean(inside))
    assert not found.rows[strata == "c"].any()
