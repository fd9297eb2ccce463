"""Baselines: what they read, and agreement with scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.neighbors import NearestNeighbors

from eval.baselines.base import Features, Standard, filled, texts
from eval.baselines.linear import IndependentProbes, ShuffledLabels
from eval.baselines.neighbours import Neighbours
from eval.baselines.ridge import STRENGTHS, fit_ridge
from eval.harness.contestants import NEEDS_SCOUT, ROUTERS, make_forecaster
from eval.outcomes import Outcomes
from eval.queries import Queries
from probes.metrics import auroc
from tests.eval.sets import synthetic

NONE: Features = np.zeros((0, 0), dtype=np.float32)


@pytest.mark.parametrize(("n", "width"), [(200, 6), (40, 90)])
def test_ridge_agrees_with_scikit_learn(n: int, width: int) -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(n, width)) * rng.uniform(0.1, 5, width) + 3).astype(np.float32)
    y = rng.normal(size=(n, 3)) + x[:, :1]
    fitted = fit_ridge(x, y, np.arange(n))
    _, standard = Standard.of(x)
    reference = SklearnRidge(fitted.strength * float(np.square(standard).sum())).fit(standard, y)
    np.testing.assert_allclose(fitted.predict(x), reference.predict(standard), atol=2e-3)
    assert fitted.strength in STRENGTHS


def test_neighbours_are_the_nearest_by_cosine() -> None:
    world = synthetic(120)
    x = world.activations.features()
    train, test = np.arange(90), np.arange(90, 120)
    found = (
        Neighbours(k=7, prior=0)
        .fit(world.outcomes.take(train), x[train])
        .predict(world.outcomes.queries, x[test])
    )
    standard, points = Standard.of(x[train])
    index = NearestNeighbors(n_neighbors=7, metric="cosine").fit(points)
    nearest = index.kneighbors(standard(x[test]), return_distance=False)
    expected = world.outcomes.correct[train][nearest].mean(axis=1).clip(0.005, 0.995)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("name", ROUTERS)
def test_every_forecaster_keeps_the_interface(name: str) -> None:
    world = synthetic(120)
    features = world.activations.features()
    forecaster = make_forecaster(name, 0)
    assert forecaster.needs_features == (name in NEEDS_SCOUT)
    if not forecaster.needs_features:
        features = np.zeros((120, 0), dtype=np.float32)
    success = forecaster.fit(world.outcomes, features).predict(world.outcomes.queries, features)
    assert success.shape == (120, 3)
    assert ((success > 0) & (success < 1)).all()


def test_words_and_length_find_what_stands_in_the_text() -> None:
    rng = np.random.default_rng(0)
    easy = rng.random(300) < 0.5
    prompts = [
        ("please add" if e else "please integrate the following thing") + f" case {i}"
        for i, e in enumerate(easy)
    ]
    outcomes = Outcomes.build(
        Queries.build(prompts), ["a", "b"], np.tile(easy[:, None], (1, 2)).astype(float)
    )
    for name in ("tfidf", "length"):
        forecaster = make_forecaster(name, 0).fit(outcomes.take(np.arange(200)), NONE)
        success = forecaster.predict(outcomes.queries.take(np.arange(200, 300)), NONE)
        assert auroc(success[:, 0], easy[200:]) > 0.99


def test_shuffled_labels_know_nothing() -> None:
    world = synthetic(1000)
    x, train, test = world.activations.features(), np.arange(600), np.arange(600, 1000)
    correct = world.outcomes.correct[test, 0]
    for forecaster, low, high in ((IndependentProbes(), 0.9, 1.0), (ShuffledLabels(), 0.3, 0.7)):
        success = forecaster.fit(world.outcomes.take(train), x[train]).predict(
            world.outcomes.queries, x[test]
        )
        assert low <= auroc(success[:, 0], correct) <= high


def test_gaps_are_filled_with_the_candidates_mean() -> None:
    table = np.array([[1.0, np.nan], [0.0, np.nan], [np.nan, np.nan]])
    np.testing.assert_array_equal(filled(table), [[1, 0.5], [0, 0.5], [0.5, 0.5]])


def test_all_messages_are_read() -> None:
    conversation = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
    ]
    assert texts(Queries.build([conversation])) == ["be brief\nhi"]
