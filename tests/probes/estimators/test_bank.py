"""The bank finds what candidates share and where they differ, and stays honest where it knows little."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from probes.errors import ArtefactError, DataError
from probes.estimators.bank import ProbeBank, same_rows
from probes.estimators.solving.logistic import sigmoid
from probes.metrics import auroc, ece, log_loss
from tests.probes.worlds import make_world


def mean_auroc(success: np.ndarray, correct: np.ndarray) -> float:
    return float(np.mean([auroc(success[:, m], correct[:, m]) for m in range(correct.shape[1])]))


def test_probabilities_are_near_the_true_ones() -> None:
    world, unseen = make_world(4000, rank=1), make_world(4000, rank=1)
    bank = ProbeBank().fit(world.features[:2000], world.correct[:2000])
    found, true = bank.predict_proba(world.features[2000:]), unseen.success[2000:]
    assert np.abs(found - true).mean() < 0.03
    assert max(ece(found[:, m], world.correct[2000:, m]) for m in range(4)) < 0.04


def test_it_separates_as_well_as_a_logistic_regression_for_each_candidate() -> None:
    world = make_world(3000, width=60, candidates=6)
    train, test = slice(0, 1500), slice(1500, 3000)
    fits = [LogisticRegression(C=0.1).fit(world.features[train], world.correct[train, m]) for m in range(6)]
    alone = [fit.decision_function(world.features[test]) for fit in fits]
    bank = ProbeBank().fit(world.features[train], world.correct[train])
    ours = mean_auroc(bank.decision_function(world.features[test]), world.correct[test])
    assert ours >= mean_auroc(np.stack(alone, axis=1), world.correct[test]) - 0.003


def test_generalists_are_shrunk_to_one_direction_and_specialists_are_not() -> None:
    same = make_world(1500, candidates=12, rank=0, seed=1)
    assert len(ProbeBank().fit(same.features, same.correct).record_["directions"]) <= 4
    rng = np.random.default_rng(0)
    features = rng.normal(size=(1500, 12)).astype(np.float32)
    correct = (rng.random((1500, 12)) < sigmoid(3 * features)).astype(float)
    assert len(ProbeBank().fit(features, correct).record_["directions"]) == 12


def test_held_out_logits_are_of_queries_that_the_fit_did_not_see() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(300, 200)).astype(np.float32)
    labels = (rng.random((300, 3)) < 0.5).astype(float)
    bank = ProbeBank().fit(noise, labels)
    assert mean_auroc(bank.held_out_, labels) < 0.58


def test_a_group_is_never_its_own_evidence() -> None:
    rng = np.random.default_rng(0)
    features = np.repeat(rng.normal(size=(60, 100)), 5, axis=0).astype(np.float32)
    labels = np.repeat((rng.random((60, 2)) < 0.5).astype(float), 5, axis=0)
    for groups in (None, np.repeat(np.arange(60), 5)):
        assert mean_auroc(ProbeBank().fit(features, labels, groups=groups).held_out_, labels) < 0.65
    assert len(np.unique(same_rows(features))) == 60


def test_missing_outcomes_are_not_failures() -> None:
    world = make_world(3000, candidates=3)
    holes = world.correct.copy()
    holes[np.random.default_rng(1).random(holes.shape) < 0.5] = np.nan
    full, some = (ProbeBank().fit(world.features[:2000], y[:2000]) for y in (world.correct, holes))
    found = some.predict_proba(world.features[2000:])
    assert np.abs(found - full.predict_proba(world.features[2000:])).mean() < 0.04
    np.testing.assert_allclose(found.mean(axis=0), world.success[2000:].mean(axis=0), atol=0.04)


def test_more_draws_behind_a_rate_are_worth_more() -> None:
    world = make_world(2000)
    rng = np.random.default_rng(2)
    trials = np.where(rng.random(world.success.shape) < 0.3, 20.0, 1.0)
    rate = rng.binomial(trials.astype(int), world.success) / trials
    train, test = slice(0, 400), slice(400, 2000)
    losses = []
    for draws in (trials[train], None):
        bank = ProbeBank().fit(world.features[train], rate[train], trials=draws)
        losses.append(log_loss(bank.predict_proba(world.features[test]).ravel(), world.success[test].ravel()))
    assert losses[0] < losses[1]


@given(st.permutations(range(4)), st.integers(0, 3))
@settings(max_examples=6)
def test_the_order_of_candidates_is_of_no_account(order: list[int], seed: int) -> None:
    world = make_world(300, seed=seed)
    straight = ProbeBank().fit(world.features, world.correct).predict_proba(world.features)
    turned = ProbeBank().fit(world.features, world.correct[:, order]).predict_proba(world.features)
    np.testing.assert_allclose(turned, straight[:, order], atol=2e-3)


def test_units_of_features_are_of_no_account() -> None:
    world = make_world(300)
    factor = np.exp(np.random.default_rng(0).normal(size=20) * 2).astype(np.float32)
    moved, groups = world.features * factor + 3, np.arange(300)
    straight = ProbeBank().fit(world.features, world.correct, groups=groups).predict_proba(world.features)
    scaled = ProbeBank().fit(moved, world.correct, groups=groups).predict_proba(moved)
    np.testing.assert_allclose(scaled, straight, atol=2e-3)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_candidate_of_one_class_keeps_a_finite_probability(value: float) -> None:
    world = make_world(400, candidates=3)
    correct = world.correct.copy()
    correct[:, 1] = value
    found = ProbeBank().fit(world.features, correct).predict_proba(world.features)
    assert np.isfinite(found).all()
    assert np.abs(found[:, 1] - value).mean() < 0.02
    assert (np.abs(found[:, 1] - value) > 0).all()


def test_three_labels_teach_a_level_near_the_pools_and_no_direction_of_its_own() -> None:
    world = make_world(800, candidates=5)
    correct = world.correct.copy()
    correct[3:, 2] = np.nan
    found = ProbeBank().fit(world.features, correct).predict_proba(world.features)
    assert 0.1 < found[:, 2].mean() < 0.9
    assert auroc(found[:, 2], world.correct[:, 2]) > 0.7  # by the shared difficulty


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_a_handful_of_queries_is_enough_for_levels(n: int) -> None:
    world = make_world(n, width=5, candidates=2)
    assert np.isfinite(ProbeBank().fit(world.features, world.correct).predict_proba(world.features)).all()


def test_one_candidate_is_a_pool() -> None:
    world = make_world(500, candidates=1)
    bank = ProbeBank().fit(world.features, world.correct[:, 0])
    assert bank.predict_proba(world.features).shape == (500, 1)
    assert auroc(bank.held_out_[:, 0], world.correct[:, 0]) > 0.75


def test_features_that_say_nothing_leave_the_levels() -> None:
    world = make_world(300, candidates=2)
    found = ProbeBank().fit(np.ones((300, 4)), world.correct).predict_proba(np.ones((1, 4)))
    np.testing.assert_allclose(found[0], world.correct.mean(axis=0), atol=0.02)


def test_arrays_and_meta_hold_all_of_it() -> None:
    world = make_world(200)
    bank = ProbeBank(n_folds=3).fit(world.features, world.correct)
    again = ProbeBank.from_arrays(bank.to_arrays(), bank.meta())
    np.testing.assert_array_equal(again.predict_proba(world.features), bank.predict_proba(world.features))
    assert again.get_params() == bank.get_params()
    with pytest.raises(ArtefactError, match="schema"):
        ProbeBank.from_arrays(bank.to_arrays(), {"schema": 99})
    arrays = {**bank.to_arrays(), "level": np.zeros(9)}
    with pytest.raises(ArtefactError, match="do not fit"):
        ProbeBank.from_arrays(arrays, bank.meta())


def test_bad_input_is_refused_with_its_reason() -> None:
    world = make_world(50)
    x, y = world.features, world.correct
    broken = x.copy()
    broken[7, 3] = np.nan
    cases = [
        (broken, y, {}, "query 7 are not finite"),
        (x[:20], y, {}, r"must be \[20, candidates\]"),
        (x, y * 2, {}, r"outside \[0, 1\]"),
        (x, np.full_like(y, np.nan), {}, "no outcome"),
        (x, y, {"trials": np.zeros_like(y)}, "must be positive"),
        (x, y, {"trials": np.ones((50, 2))}, "Trials are"),
        (x, y, {"groups": np.arange(9)}, r"Groups must be \[50\]"),
        (x[0], y, {}, "Expected 2D array"),
    ]
    for features, correct, more, message in cases:
        with pytest.raises(DataError, match=message):
            ProbeBank().fit(features, correct, **more)
    bank = ProbeBank().fit(x, y)
    with pytest.raises(DataError, match="5 features, but ProbeBank is expecting 20"):
        bank.predict_proba(x[:, :5])
    with pytest.raises(DataError, match="5 wide, the probes 20"):
        bank.probes_.decision_function(x[:, :5])
    with pytest.raises(NotFittedError):
        ProbeBank().predict_proba(x)
