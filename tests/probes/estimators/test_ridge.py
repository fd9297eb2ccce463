"""One Gram matrix solves every ridge problem exactly as scikit-learn solves each alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.preprocessing import StandardScaler

from probes.estimators.solving.coordinates import Coordinates
from probes.estimators.solving.ridge import out_of_fold, solve


def problem(n: int, width: int, targets: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = (rng.normal(size=(n, width)) * rng.uniform(0.1, 9, width) + rng.normal(size=width)).astype(
        "f4"
    )
    return features, rng.random((n, targets)), rng.choice([0.0, 1.0, 1.6], (n, targets), p=[0.3, 0.4, 0.3])


@given(st.integers(12, 60), st.integers(1, 60), st.floats(0.01, 30), st.integers(0, 99))
def test_weighted_ridges_are_scikit_learns(n: int, width: int, strength: float, seed: int) -> None:
    features, y, w = problem(n, width, 3, seed)
    w[0] = 1.0  # every target has something
    coordinates = Coordinates.fit(features)
    solved = solve(coordinates.transform(features), coordinates.spectrum, y, w, strength)
    weights, offsets = coordinates.fold(solved.coefficients)
    scaled = StandardScaler().fit_transform(features.astype(float))
    for t in range(3):
        expected = SklearnRidge(strength).fit(scaled, y[:, t], sample_weight=w[:, t]).predict(scaled)
        found = features @ weights[:, t] + offsets[t] + solved.level[t]
        np.testing.assert_allclose(found, expected, atol=2e-3)


def test_each_fold_is_predicted_by_the_others_alone() -> None:
    features, y, w = problem(90, 12, 2, 0)
    fold = np.arange(90) % 3
    coordinates = Coordinates.fit(features)
    z = coordinates.transform(features)
    held = out_of_fold(z, coordinates.spectrum, y, w, 3.0, fold).predicted
    for k in range(3):
        away = fold != k
        for t in range(2):
            alone = SklearnRidge(3.0).fit(z[away], y[away, t], sample_weight=w[away, t])
            np.testing.assert_allclose(held[fold == k, t], alone.predict(z[fold == k]), atol=1e-3)


def test_where_to_start_does_not_change_where_it_ends() -> None:
    features, y, w = problem(80, 30, 4, 1)
    coordinates = Coordinates.fit(features)
    z = coordinates.transform(features)
    cold = solve(z, coordinates.spectrum, y, w, 1.0)
    warm = solve(z, coordinates.spectrum, y, w, 1.0, solve(z, coordinates.spectrum, y, w, 30.0))
    np.testing.assert_allclose(cold.coefficients, warm.coefficients, atol=1e-3)


def test_a_target_without_outcomes_is_zero() -> None:
    features, y, w = problem(40, 5, 2, 2)
    w[:, 1] = 0
    coordinates = Coordinates.fit(features)
    solved = solve(coordinates.transform(features), coordinates.spectrum, y, w, 1.0)
    assert not solved.coefficients[:, 1].any()
    assert solved.level[1] == 0


@pytest.mark.parametrize(("n", "width"), [(50, 20), (20, 50)], ids=["primal", "dual"])
def test_coordinates_are_principal_components(n: int, width: int) -> None:
    features, _, _ = problem(n, width, 1, 3)
    coordinates = Coordinates.fit(features)
    scaled = StandardScaler().fit_transform(features.astype(float))
    values = np.linalg.svd(scaled, compute_uv=False) ** 2
    np.testing.assert_allclose(coordinates.spectrum, values[: coordinates.rank], rtol=1e-3)
    z = coordinates.transform(features)
    np.testing.assert_allclose(z @ z.T, scaled @ scaled.T, atol=1e-2)
    np.testing.assert_allclose(coordinates.total, values.sum(), rtol=1e-5)


def test_the_leading_coordinates_of_large_features_are_found_without_a_gram_matrix() -> None:
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(400, 12)) @ rng.normal(size=(12, 300)) * 3).astype(np.float32)
    features += rng.normal(size=features.shape).astype(np.float32)
    exact, leading = Coordinates.fit(features, 400), Coordinates.fit(features, 30)
    assert (exact.rank, leading.rank) == (300, 30)
    np.testing.assert_allclose(leading.spectrum[:12], exact.spectrum[:12], rtol=1e-3)


def test_constant_features_count_for_nothing() -> None:
    features = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    features[:, 1] = 1e4
    coordinates = Coordinates.fit(features)
    assert coordinates.rank == 2
    assert coordinates.total == 60
    moved = features + np.array([0, 5, 0], np.float32)
    np.testing.assert_array_equal(coordinates.transform(moved), coordinates.transform(features))
    assert Coordinates.fit(np.ones((9, 2), np.float32)).rank == 0
