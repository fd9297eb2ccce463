"""Calibration repairs what is wrong, leaves what is right, and moves little on few labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from probes.errors import ArtefactError, DataError
from probes.estimators.solving.logistic import fit_logistic, sigmoid
from probes.metrics import ece, log_loss
from probes.scoring.calibration import KINDS, Calibrator

N = 4000


def draws(success: np.ndarray, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random(success.shape) < success).astype(float)


def logits(n: int = N, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 1)) * 1.5


def test_what_is_calibrated_is_left_alone() -> None:
    z = logits()
    found = Calibrator.fit(z, draws(sigmoid(z)))
    assert np.abs(found.transform(z) - sigmoid(z)).max() < 0.05


@pytest.mark.parametrize(
    "true",
    [lambda z: sigmoid(0.4 * z + 1), lambda z: sigmoid(z) ** 3, lambda z: np.where(z > 0.5, 0.9, 0.2)],
    ids=["overconfident", "skewed", "step"],
)
def test_what_is_wrong_is_repaired(true: object) -> None:
    z = logits()
    success = true(z)  # type: ignore[operator]
    found = Calibrator.fit(z, draws(success))
    fresh = logits(seed=9)
    unseen = draws(true(fresh), 5)[:, 0]  # type: ignore[operator]
    after = found.transform(fresh)[:, 0]
    assert ece(after, unseen) < 0.03 < ece(sigmoid(fresh)[:, 0], unseen)


def test_a_step_wants_isotonic() -> None:
    z = logits()
    assert Calibrator.fit(z, draws(np.where(z > 0.5, 0.9, 0.2))).kinds == ("isotonic",)


def test_isotonic_is_scikit_learns() -> None:
    z = logits(300)
    y = draws(sigmoid(2 * z))
    found = Calibrator.fit(z, y, kinds=("isotonic",)).transform(z)[:, 0]
    expected = IsotonicRegression(y_min=0.5 / 301, y_max=1 - 0.5 / 301).fit(z[:, 0], y[:, 0]).predict(z[:, 0])
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_platt_is_logistic_regression_but_for_its_prior() -> None:
    z = logits()
    y = draws(sigmoid(0.6 * z - 0.5))
    found = Calibrator.fit(z, y, kinds=("platt",)).transform(z)
    expected = LogisticRegression(C=np.inf, tol=1e-10).fit(z, y[:, 0]).predict_proba(z)[:, 1:]
    np.testing.assert_allclose(found, expected, atol=2e-3)


@given(st.integers(0, 3), st.sampled_from([0.0, 1.0]))
def test_few_labels_of_one_class_move_a_little_and_stay_inside(n: int, value: float) -> None:
    z = np.linspace(-1, 1, n)[:, None]
    found = Calibrator.fit(z, np.full((n, 1), value)).transform(np.zeros((1, 1)))[0, 0]
    assert 0.2 < found < 0.8
    assert found == 0.5 if n == 0 else (found - 0.5) * (value - 0.5) > 0


@given(st.integers(1, 200), st.integers(0, 99), st.sampled_from(KINDS))
def test_a_calibrated_ranking_is_never_reversed(n: int, seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    z, y = rng.normal(size=(n, 1)), (rng.random((n, 1)) < 0.5).astype(float)
    found = Calibrator.fit(z, y, kinds=(kind,)).transform(np.linspace(-9, 9, 50)[:, None])[:, 0]  # type: ignore[arg-type]
    assert (np.diff(found) >= -1e-12).all()
    assert ((found > 0) & (found < 1)).all()


def test_candidates_and_missing_outcomes_are_kept_apart() -> None:
    z = np.hstack([logits(), logits(seed=3)])
    y = draws(sigmoid(z * [1.0, 0.2]))
    y[::2, 1] = np.nan
    together = Calibrator.fit(z, y).transform(z)
    for m in range(2):
        alone = Calibrator.fit(z[:, [m]], y[:, [m]]).transform(z[:, [m]])
        np.testing.assert_array_equal(together[:, [m]], alone)


def test_adjusting_puts_a_line_through_the_calibrated_logit() -> None:
    z = logits(500)
    for kind in KINDS:
        first = Calibrator.fit(z, draws(sigmoid(2 * z + 1)), kinds=(kind,))
        before = first.transform(z)
        after = first.adjusted(0, -0.3, 0.8).transform(z)
        if kind == "isotonic":
            assert np.corrcoef(before[:, 0], after[:, 0])[0, 1] > 0.99
        else:
            np.testing.assert_allclose(after, sigmoid(0.8 * np.log(before / (1 - before)) - 0.3), atol=1e-9)


def test_arrays_hold_all_of_it() -> None:
    z = np.hstack([logits(400, seed) for seed in range(4)])
    y = draws(sigmoid(z))
    mixed = Calibrator(
        tuple(Calibrator.fit(z[:, [m]], y[:, [m]], kinds=(KINDS[m],)).curves[0] for m in range(4))
    )
    again = Calibrator.from_arrays(mixed.to_arrays(), list(mixed.kinds))
    assert again.kinds == KINDS
    np.testing.assert_array_equal(again.transform(z), mixed.transform(z))
    with pytest.raises(ArtefactError, match="does not fit"):
        Calibrator.from_arrays(mixed.to_arrays(), ["platt"])
    with pytest.raises(ArtefactError, match=r"knots\.0"):
        Calibrator.from_arrays(mixed.to_arrays(), ["isotonic"] * 4)


def test_bad_input_is_refused() -> None:
    with pytest.raises(DataError, match="finite"):
        Calibrator.fit([[np.nan]], [[1.0]])
    with pytest.raises(DataError, match="Logits are"):
        Calibrator.fit(np.zeros((3, 2)), np.zeros((3, 1)))


@given(st.integers(0, 99))
def test_the_newton_fit_is_at_the_minimum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(30), rng.normal(size=(30, 2)) * 5])
    rate, weight = rng.random(30), rng.choice([0.0, 1.0, 3.0], 30)
    mean, sd = rng.normal(size=3), np.array([1.0, 0.3, 2.0])
    c = fit_logistic(x, rate, weight, prior_mean=mean, prior_sd=sd)
    slope = x.T @ (weight * (sigmoid(x @ c) - rate)) + (c - mean) / sd**2
    assert np.abs(slope).max() < 1e-3


def test_log_loss_is_lower_after_than_before() -> None:
    z = logits()
    y = draws(sigmoid(0.3 * z))
    found = Calibrator.fit(z[:2000], y[:2000]).transform(z[2000:])
    assert log_loss(found[:, 0], y[2000:, 0]) < log_loss(sigmoid(z[2000:, 0]), y[2000:, 0])
