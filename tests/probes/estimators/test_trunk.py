"""The trunk: networks as a library computes them, honest folds, and one set of probes with the bank."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from probes.errors import ArtefactError
from probes.estimators.bank import ProbeBank
from probes.estimators.linear import LinearProbes
from probes.estimators.solving import network
from probes.estimators.solving.coordinates import Coordinates
from probes.estimators.solving.logistic import sigmoid
from probes.metrics import auroc
from probes.scoring.novelty import Novelty
from probes.scoring.scorer import Scorer
from tests.probes.worlds import World, assembled

TRAIN, TEST = slice(0, 1500), slice(1500, 3000)


@pytest.fixture(scope="module")
def folded() -> World:
    """Success by products of coordinates, which waves of so many coordinates hardly follow."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(3000, 24)).astype(np.float32)
    place = np.sign(features[:, 0]) * np.abs(features[:, 1]) + np.abs(features[:, 2]) - 0.8
    success = sigmoid(np.array([0.0, 0.5, 1.0]) + 3 * place[:, None])
    return World(features, success, (rng.random(success.shape) < success).astype(float))


@pytest.fixture(scope="module")
def bank(folded: World) -> ProbeBank:
    return ProbeBank().fit(folded.features[TRAIN], folded.correct[TRAIN])


@pytest.fixture(scope="module")
def scorer(folded: World, bank: ProbeBank) -> Scorer:
    return assembled(folded, bank, Coordinates.fit(folded.features[TRAIN]), TRAIN, TEST)


def material(n: int = 90) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(1)
    rate = rng.integers(0, 2, size=(n, 3)).astype(float)
    weight = rng.choice([0.0, 1.0, 1.5], size=(n, 3))
    loadings, level = rng.normal(size=(2, 3)), rng.normal(size=3)
    return rng.normal(size=(n, 5)).astype(np.float32), rate, weight, loadings, level, np.arange(n) % 3


def test_steps_are_those_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "DROPPED", (0.0, 0.0))
    x, rate, weight, loadings, level, fold = material()
    trained = network.train(x, rate, weight, loadings, level, fold, passes=3)
    for k, found in enumerate(trained):
        begun = network.train(x, rate, weight, loadings, level, fold, passes=0)[k]
        values = [torch.tensor(v, requires_grad=True) for v in (*begun.weights, *begun.biases)]
        adam = torch.optim.Adam(values, lr=network.RATE, weight_decay=network.DECAY)
        known = torch.tensor(weight * (fold != k)[:, None], dtype=torch.float32)
        for step in range(3):  # one batch a pass
            adam.param_groups[0]["lr"] = network.RATE * (1 - step / 3)
            hidden = torch.relu(torch.tensor(x) @ values[0] + values[3])
            hidden = torch.relu(hidden @ values[1] + values[4])
            logit = (hidden @ values[2] + values[5]) @ torch.tensor(loadings).float() + torch.tensor(
                level
            ).float()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                logit, torch.tensor(rate).float(), weight=known, reduction="sum"
            )
            adam.zero_grad()
            (loss / known.sum()).backward()
            adam.step()
        for ours, theirs in zip((*found.weights, *found.biases), values, strict=True):
            np.testing.assert_allclose(ours, theirs.detach().numpy(), atol=2e-5)


def test_a_fold_s_network_does_not_see_its_own_rows() -> None:
    x, rate, weight, loadings, level, fold = material()
    before = network.train(x, rate, weight, loadings, level, fold, passes=2)
    turned = np.where((fold == 1)[:, None], 1 - rate, rate)
    after = network.train(x, turned, weight, loadings, level, fold, passes=2)
    same = [np.array_equal(a(x), b(x)) for a, b in zip(before, after, strict=True)]
    assert same == [False, True, False, False]


def test_a_missing_outcome_says_nothing() -> None:
    x, rate, weight, loadings, level, fold = material()
    before = network.train(x, rate, weight, loadings, level, fold, passes=2)
    after = network.train(x, np.where(weight > 0, rate, 0.7), weight, loadings, level, fold, passes=2)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a(x), b(x))


def test_what_waves_do_not_follow_is_learnt(folded: World, bank: ProbeBank) -> None:
    without = ProbeBank(trunk=False).fit(folded.features[TRAIN], folded.correct[TRAIN])
    gain = bank.record_["trunk_gain"]
    assert gain["nats"] > 5 * gain["standard_error"]
    assert 0 < bank.record_["trunk"]["share"] <= 1
    for m in range(3):
        truth = folded.correct[TEST, m]
        ours, theirs = (each.decision_function(folded.features[TEST])[:, m] for each in (bank, without))
        assert auroc(ours, truth) > auroc(theirs, truth) + 0.05


def test_out_of_fold_logits_are_as_good_as_on_new_queries(folded: World, bank: ProbeBank) -> None:
    new = bank.decision_function(folded.features[TEST])
    for m in range(3):
        held = auroc(bank.held_out_[:, m], folded.correct[TRAIN, m])
        assert held == pytest.approx(auroc(new[:, m], folded.correct[TEST, m]), abs=0.04)


def test_scores_keep_mean_and_spread(folded: World, bank: ProbeBank) -> None:
    scores = bank.probes_.scores(folded.features[TRAIN])
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(scores.std(axis=0), 1, atol=1e-6)


def test_a_scorer_says_what_the_bank_says(folded: World, bank: ProbeBank, scorer: Scorer) -> None:
    x = folded.features[TEST]
    expected = scorer.calibrator.transform(bank.decision_function(x))
    np.testing.assert_allclose(scorer.score(x).success, expected, atol=1e-4)
    np.testing.assert_allclose(scorer.score(x[7]).success[0], expected[7], atol=1e-4)


def test_coordinates_are_projected_once(scorer: Scorer) -> None:
    """Novelty and waves read the first 16, the trunk all 24: K logits, K lengths, these, and the energy."""
    assert scorer.probes.trunk is not None
    assert scorer.weights()["matrix"].shape[1] == 6 + 24 + 1


def test_coordinates_of_another_basis_are_added(folded: World, bank: ProbeBank, scorer: Scorer) -> None:
    x = folded.features
    other = Novelty().fit(x[TEST], x[TRAIN])
    apart = Scorer(scorer.probes, scorer.calibrator, scorer.length, other)
    assert apart.weights()["matrix"].shape[1] > scorer.weights()["matrix"].shape[1]
    np.testing.assert_allclose(apart.score(x[TEST]).success, scorer.score(x[TEST]).success, atol=1e-4)


def test_files_hold_the_trunk(folded: World, bank: ProbeBank, scorer: Scorer, tmp_path: Path) -> None:
    path = tmp_path / "probes.safetensors"
    scorer.save(path)
    again = Scorer.load(path)
    x = folded.features[TEST]
    np.testing.assert_allclose(again.score(x).success, scorer.score(x).success, atol=1e-4)
    assert "probes.trunk_first" in load_file(path)
    bank_again = ProbeBank.from_arrays(bank.to_arrays(), bank.meta())
    np.testing.assert_array_equal(bank_again.decision_function(x), bank.decision_function(x))


def test_a_newcomer_uses_what_was_learnt(folded: World, bank: ProbeBank) -> None:
    few = slice(1500, 1560)
    grown, _ = bank.add_candidate(folded.features[few], folded.correct[few, 0])
    fresh = slice(1560, 3000)
    found = grown.decision_function(folded.features[fresh])[:, 3]
    own = bank.decision_function(folded.features[fresh])[:, 0]
    truth = folded.correct[fresh, 0]
    assert auroc(found, truth) > auroc(own, truth) - 0.02


def test_damaged_trunks_are_refused(bank: ProbeBank) -> None:
    arrays = bank.to_arrays()
    assert LinearProbes.from_arrays(arrays).trunk is not None
    for name, value in [
        ("trunk_first", None),
        ("trunk_first", np.zeros((2, 2))),
        ("trunk_first_bias", np.full(len(arrays["trunk_first_bias"]), np.nan)),
        ("trunk_second", np.zeros(4)),
        ("trunk_directions", np.zeros((2, 2))),
        ("on_trunk", np.zeros((1, 1))),
    ]:
        damaged = {k: v for k, v in arrays.items() if k != name} | ({} if value is None else {name: value})
        with pytest.raises(ArtefactError):
            LinearProbes.from_arrays(damaged)


def test_the_same_seed_gives_the_same_trunk(folded: World, bank: ProbeBank) -> None:
    again = ProbeBank().fit(folded.features[TRAIN], folded.correct[TRAIN])
    x = folded.features[TEST]
    np.testing.assert_array_equal(again.decision_function(x), bank.decision_function(x))
    other = ProbeBank(seed=1).fit(folded.features[TRAIN], folded.correct[TRAIN])
    assert not np.array_equal(other.decision_function(x), bank.decision_function(x))
    assert replace(bank.probes_, trunk=None, on_trunk=None).added != bank.probes_.added
