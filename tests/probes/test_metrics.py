"""Metrics agree with scikit-learn and scipy, and where they go further, with what they mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.metrics import log_loss as sklearn_log_loss

from probes.errors import DataError
from probes.metrics import auroc, auroc_within, brier, ece, log_loss, reliability_curve, spearman

SCORES = arrays(float, 40, elements=st.sampled_from(np.linspace(0.01, 0.99, 13).tolist()))
LABELS = arrays(float, 40, elements=st.sampled_from([0.0, 1.0])).filter(lambda y: 0 < y.sum() < 40)


@given(SCORES, LABELS)
def test_binary_metrics_are_scikit_learns(score: np.ndarray, label: np.ndarray) -> None:
    assert auroc(score, label) == pytest.approx(roc_auc_score(label, score), abs=1e-12)
    assert brier(score, label) == pytest.approx(brier_score_loss(label, score), abs=1e-12)
    assert log_loss(score, label) == pytest.approx(sklearn_log_loss(label, score), abs=1e-12)


@given(SCORES, arrays(float, 40, elements=st.sampled_from([0.0, 0.2, 0.5, 1.0])))
def test_a_rate_is_a_share_of_a_success(score: np.ndarray, rate: np.ndarray) -> None:
    if not 0 < rate.sum() < 40:
        assert np.isnan(auroc(score, rate))
        return
    twice = np.r_[score, score], np.r_[np.ones(40), np.zeros(40)], np.r_[rate, 1 - rate]
    expected = roc_auc_score(twice[1], twice[0], sample_weight=twice[2])
    assert auroc(score, rate) == pytest.approx(expected, abs=1e-12)


@given(SCORES, arrays(float, 40, elements=st.sampled_from([0.0, 0.4, 0.6, 1.0])))
def test_spearman_is_scipys(score: np.ndarray, target: np.ndarray) -> None:
    if len(set(score)) == 1 or len(set(target)) == 1:
        assert np.isnan(spearman(score, target))
    else:
        assert spearman(score, target) == pytest.approx(spearmanr(score, target).statistic, abs=1e-12)


def test_missing_outcomes_are_left_out() -> None:
    score, label = np.array([0.1, 0.4, 0.35, 0.8]), np.array([0.0, np.nan, 1.0, 1.0])
    assert auroc(score, label) == 1.0
    assert brier(score, label) == pytest.approx((0.01 + 0.65**2 + 0.04) / 3)
    assert log_loss(score, label) == pytest.approx(-np.log([0.9, 0.35, 0.8]).mean())


def test_log_loss_weighs_by_draws() -> None:
    assert log_loss([0.5, 0.9], [1.0, 1.0], trials=[3, 1]) == pytest.approx(
        -(3 * np.log(0.5) + np.log(0.9)) / 4
    )


def test_ece_takes_a_bins_upper_end_into_it() -> None:
    probability, label = np.array([0.0, 0.1, 0.10001, 1.0]), np.array([0.0, 0.0, 1.0, 1.0])
    curve = reliability_curve(probability, label)
    assert curve.count.tolist() == [2, 1, 1]
    assert ece(probability, label) == pytest.approx((0.1 + 0.89999 + 0.0) / 4)


def test_within_strata_the_strata_themselves_do_not_help() -> None:
    stratum = np.repeat(["easy", "hard"], 50)
    label = np.r_[np.arange(50) % 10 > 0, np.arange(50) % 10 == 0].astype(float)
    score = np.r_[np.ones(50), np.zeros(50)]
    assert auroc(score, label) == pytest.approx(0.9)
    assert auroc_within(score, label, stratum) == 0.5


def test_strata_of_one_class_are_left_out() -> None:
    assert auroc_within([1, 2, 3], [1, 1, 1], ["a", "a", "b"]) != auroc_within([1, 2], [0, 1], ["a", "a"])
    assert np.isnan(auroc_within([1, 2], [1, 1], ["a", "a"]))


def test_scores_must_be_finite_and_fit() -> None:
    with pytest.raises(DataError, match="finite"):
        auroc([np.nan, 1.0], [0.0, 1.0])
    with pytest.raises(DataError, match="one length"):
        auroc([1.0], [0.0, 1.0])
