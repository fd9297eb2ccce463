"""New candidates with few labels, new checkpoints, and canaries that notice when the old directions fail."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.errors import UsageError
from probes.estimators.bank import ProbeBank
from probes.estimators.solving.logistic import sigmoid
from probes.metrics import auroc
from probes.scoring.newcomer.spread import spread_rows
from tests.probes.worlds import make_world

WORLD = make_world(4000, candidates=8, rank=1)
TRAIN, NEW, TEST = slice(0, 1500), slice(1500, 2500), slice(2500, 4000)


@pytest.fixture(scope="module")
def old() -> ProbeBank:
    """A bank of all candidates but the last."""
    return ProbeBank().fit(WORLD.features[TRAIN], WORLD.correct[TRAIN, :-1])


def success_of_new(bank: ProbeBank) -> np.ndarray:
    return bank.predict_proba(WORLD.features[TEST])[:, -1]


def test_without_labels_a_new_candidate_ranks_by_the_shared_difficulty(old: ProbeBank) -> None:
    bank, canary = old.add_candidate(np.empty((0, 20)), [], expected_rate=0.7)
    assert auroc(success_of_new(bank), WORLD.correct[TEST, -1]) > 0.7
    assert success_of_new(bank).mean() == pytest.approx(0.7, abs=0.03)
    assert (canary.verdict, canary.n_labels) == ("unknown", 0)


def test_more_labels_bring_its_probabilities_nearer_the_truth(old: ProbeBank) -> None:
    errors = []
    for n in (0, 50, 1000):
        rows = slice(1500, 1500 + n)
        bank, _ = old.add_candidate(WORLD.features[rows], WORLD.correct[rows, -1])
        errors.append(np.abs(success_of_new(bank) - WORLD.success[TEST, -1]).mean())
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.05


def test_the_old_candidates_stay_as_they_were(old: ProbeBank) -> None:
    bank, _ = old.add_candidate(WORLD.features[NEW], WORLD.correct[NEW, -1])
    before, after = old.predict_proba(WORLD.features[TEST]), bank.predict_proba(WORLD.features[TEST])
    np.testing.assert_array_equal(after[:, :-1], before)


def test_a_canary_sees_that_the_directions_still_rank(old: ProbeBank) -> None:
    _, canary = old.add_candidate(WORLD.features[NEW], WORLD.correct[NEW, -1])
    assert canary.verdict == "ranks"
    assert canary.low < canary.auroc < canary.high


def test_a_canary_sees_that_they_do_not(old: ProbeBank) -> None:
    shuffled = np.random.default_rng(0).permutation(WORLD.correct[NEW, -1])
    bank, canary = old.add_candidate(WORLD.features[NEW], shuffled)
    assert canary.verdict == "weaker"
    assert success_of_new(bank).std() < 0.12


def test_a_new_checkpoint_gets_a_new_level_and_keeps_its_direction(old: ProbeBank) -> None:
    logit = old.decision_function(WORLD.features)[:, 2]
    better = (np.random.default_rng(1).random(4000) < sigmoid(0.7 * logit + 1.5)).astype(float)
    bank, canary = old.refit_candidate(2, WORLD.features[NEW], better[NEW])
    assert canary.verdict in ("ranks", "weaker")
    found = bank.predict_proba(WORLD.features[TEST])
    assert np.abs(found[:, 2] - sigmoid(0.7 * logit[TEST] + 1.5)).mean() < 0.05
    same = old.predict_proba(WORLD.features[TEST])
    np.testing.assert_array_equal(np.delete(found, 2, 1), np.delete(same, 2, 1))
    assert np.corrcoef(bank.decision_function(WORLD.features[TEST])[:, 2], logit[TEST])[0, 1] > 0.9999


def test_a_reversed_checkpoint_loses_its_slope_but_keeps_a_level(old: ProbeBank) -> None:
    logit = old.decision_function(WORLD.features)[:, 0]
    reversed_ = (np.random.default_rng(1).random(4000) < sigmoid(-2 * logit)).astype(float)
    bank, canary = old.refit_candidate(0, WORLD.features[NEW], reversed_[NEW])
    found = bank.predict_proba(WORLD.features[TEST])[:, 0]
    assert canary.verdict == "weaker"
    assert found.std() < 1e-9
    assert found.mean() == pytest.approx(reversed_[NEW].mean(), abs=0.02)


def test_a_single_candidate_can_be_joined_by_another() -> None:
    lone = ProbeBank().fit(WORLD.features[TRAIN], WORLD.correct[TRAIN, 0])
    bank, _ = lone.add_candidate(WORLD.features[NEW], WORLD.correct[NEW, -1])
    assert auroc(success_of_new(bank), WORLD.correct[TEST, -1]) > 0.7


def test_what_makes_no_sense_is_refused(old: ProbeBank) -> None:
    with pytest.raises(UsageError, match="in \\(0, 1\\)"):
        old.add_candidate(np.empty((0, 20)), [], expected_rate=1.0)
    with pytest.raises(UsageError, match="No candidate 7"):
        old.refit_candidate(7, WORLD.features[NEW], WORLD.correct[NEW, 0])


def test_what_the_pool_did_on_the_same_queries_makes_a_level_more_certain() -> None:
    rng = np.random.default_rng(3)
    features = rng.normal(size=(6000, 10)).astype(np.float32)
    hidden = 2 * rng.normal(size=6000)  # difficulty that no probe sees
    logit = features[:, :1] + hidden[:, None] + np.linspace(-1, 1, 10)
    correct = (rng.random(logit.shape) < sigmoid(logit)).astype(float)
    old = ProbeBank().fit(features[:2000], correct[:2000, :-1])
    true, errors = correct[2000:, -1].mean(), []
    for seed in range(30):
        rows = np.random.default_rng(seed).integers(2000, 6000, 60)
        blind, _ = old.add_candidate(features[rows], correct[rows, -1])
        told, _ = old.add_candidate(features[rows], correct[rows, -1], pool_correct=correct[rows, :-1])
        found = [bank.predict_proba(features[2000:])[:, -1].mean() for bank in (blind, told)]
        errors.append(np.abs(np.array(found) - true))
    assert np.mean(errors, axis=0)[1] < 0.9 * np.mean(errors, axis=0)[0]


def test_spread_rows_are_spread_and_denser_where_the_pool_is_divided() -> None:
    correct = np.repeat(np.linspace(0, 1, 10), 30)[:, None]
    rows = spread_rows(correct, 40)
    counts = np.bincount(rows // 30, minlength=10)
    assert counts.min() >= 1
    assert counts[4:6].min() >= 2 * max(counts[0], counts[9])
    with pytest.raises(UsageError, match="Cannot choose 400"):
        spread_rows(correct, 400)


@given(st.integers(1, 60), st.integers(1, 4), st.floats(0, 1), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_spread_rows_are_as_many_as_asked_for(n: int, candidates: int, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    correct = (rng.random((n, candidates)) < rng.random((n, 1))).astype(float)
    wanted = round(share * n)
    rows = spread_rows(correct, wanted, seed)
    assert len(np.unique(rows)) == wanted == len(rows)


def test_the_pools_outcomes_must_be_of_the_pool(old: ProbeBank) -> None:
    with pytest.raises(UsageError, match="of 2 candidates, not 7"):
        old.add_candidate(WORLD.features[:9], WORLD.correct[:9, 0], pool_correct=np.ones((9, 2)))
