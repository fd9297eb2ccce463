"""Waves find what a linear map misses, stay away where there is nothing, and travel in the artefact."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from probes.errors import ArtefactError
from probes.estimators.bank import ProbeBank
from probes.estimators.linear import LinearProbes
from probes.estimators.solving.coordinates import Coordinates
from probes.estimators.solving.logistic import sigmoid
from probes.estimators.waves import BANDWIDTH, Enlarged, Waves
from probes.metrics import auroc, log_loss
from probes.scoring.scorer import Scorer
from tests.probes.worlds import World, assembled, make_world

TRAIN, TEST = slice(0, 900), slice(900, 1800)


@pytest.fixture(scope="module")
def bent() -> World:
    """Success turns back: hardest at either end of the first feature."""
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(1800, 12)) * np.geomspace(3, 0.3, 12)).astype(np.float32)
    features = features @ np.linalg.qr(rng.normal(size=(12, 12)))[0].astype(np.float32)
    place = features - features.mean(axis=0)
    along = place @ np.linalg.svd(place, full_matrices=False)[2][0] / 3
    success = sigmoid(np.array([2.0, 1.0, 3.0]) - 2 * (along**2)[:, None])
    return World(features, success, (rng.random(success.shape) < success).astype(float))


@pytest.fixture(scope="module")
def bank(bent: World) -> ProbeBank:
    return ProbeBank(trunk=False).fit(bent.features[TRAIN], bent.correct[TRAIN])


@pytest.fixture(scope="module")
def scorer(bent: World, bank: ProbeBank) -> Scorer:
    return assembled(bent, bank, Coordinates.fit(bent.features[TRAIN]), TRAIN, TEST)


def test_what_bends_is_found(bent: World, bank: ProbeBank) -> None:
    straight = ProbeBank(n_waves=0, trunk=False).fit(bent.features[TRAIN], bent.correct[TRAIN])
    assert bank.record_["waves"] == bank.n_waves
    assert bank.record_["waves_gain"]["nats"] > 5 * bank.record_["waves_gain"]["standard_error"]
    for m in range(3):
        truth = bent.correct[TEST, m]
        found, without = (each.decision_function(bent.features[TEST])[:, m] for each in (bank, straight))
        assert auroc(found, truth) > auroc(without, truth) + 0.1
        best = log_loss(bent.success[TEST, m], truth)
        assert log_loss(sigmoid(found), truth) < best + 0.05


def test_where_nothing_bends_the_bank_stays_linear() -> None:
    world = make_world(1500)
    bank, straight = (ProbeBank(n_waves=n).fit(world.features, world.correct) for n in (256, 0))
    assert bank.record_["waves"] == 0
    assert bank.record_["waves_gain"]["nats"] < bank.record_["waves_gain"]["standard_error"]
    assert bank.probes_.waves is None
    assert bank.probes_.trunk is None
    np.testing.assert_array_equal(bank.held_out_, straight.held_out_)


def test_few_queries_are_not_asked_for_waves(bent: World) -> None:
    record = ProbeBank().fit(bent.features[:300], bent.correct[:300]).record_
    assert (record["waves"], record["waves_gain"]) == (0, None)
    assert (record["trunk"], record["trunk_gain"]) == (None, None)


def test_waves_make_a_gaussian_kernel() -> None:
    """The mean of 2 cos(a) cos(b) over many waves is the kernel that they are drawn from."""
    features = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    coordinates = Coordinates.fit(features)
    waves = Waves.along(coordinates, 40_000)
    u = coordinates.transform(features)
    np.testing.assert_allclose(features @ waves.directions + waves.offsets, u, atol=1e-5)
    found = waves.at(u)
    square = ((u[:, None] - u[None]) ** 2).sum(axis=2)
    typical = 2 * (u**2).sum(axis=1).mean()
    expected = np.exp(-0.5 * BANDWIDTH**2 * square / typical)
    np.testing.assert_allclose(2 * found @ found.T / waves.count, expected, atol=0.03)


def test_maps_on_enlarged_coordinates_fold_into_maps_on_features_and_waves() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(2, 3, size=(700, 9)).astype(np.float32)
    coordinates = Coordinates.fit(features)
    z = coordinates.transform(features)
    enlarged = Enlarged.fit(coordinates, z, 40)
    turned = enlarged.turn(z)
    np.testing.assert_allclose(turned.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose((turned**2).sum(axis=0), enlarged.spectrum, rtol=1e-3, atol=1e-2)
    assert enlarged.spectrum.sum() == pytest.approx(enlarged.total, rel=1e-3)
    maps = rng.normal(size=(len(enlarged.spectrum), 2))
    folded = enlarged.fold(maps)
    waves = enlarged.waves.at(features @ enlarged.waves.directions + enlarged.waves.offsets)
    found = features @ folded.weights + folded.offsets + waves @ folded.waves
    np.testing.assert_allclose(found, turned @ maps, atol=1e-3)


def test_scores_keep_mean_and_spread(bent: World, bank: ProbeBank) -> None:
    scores = bank.probes_.scores(bent.features[TRAIN])
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(scores.std(axis=0), 1, atol=1e-2)


def test_a_scorer_says_what_its_parts_say(bent: World, bank: ProbeBank, scorer: Scorer) -> None:
    x = bent.features[TEST]
    expected = scorer.calibrator.transform(bank.decision_function(x))
    np.testing.assert_allclose(scorer.score(x).success, expected, atol=1e-4)
    np.testing.assert_allclose(scorer.score(x[7]).success[0], expected[7], atol=1e-4)
    np.testing.assert_allclose(scorer.score(x).novelty, scorer.novelty.distance(x), rtol=1e-2)


def test_an_engine_projects_no_more_than_for_a_linear_bank(bent: World, bank: ProbeBank) -> None:
    """The waves run along novelty's coordinates; where novelty has fewer or others, their own are added."""
    x = bent.features[TEST]
    coordinates = Coordinates.fit(bent.features[TRAIN])
    straight = ProbeBank(n_waves=0, trunk=False).fit(bent.features[TRAIN], bent.correct[TRAIN])
    plain, shared = (assembled(bent, each, coordinates, TRAIN, TEST) for each in (straight, bank))
    apart = assembled(bent, bank, coordinates, TRAIN, TEST, directions=4)
    widths = [each.weights()["matrix"].shape[1] for each in (plain, shared, apart)]
    assert widths == [6 + 12 + 1] * 3
    np.testing.assert_allclose(apart.score(x).success, shared.score(x).success, atol=1e-4)
    projected = shared.finish(shared.project(x))
    np.testing.assert_array_equal(projected.success, shared.finish(shared.project(x)).success)


def test_a_file_holds_the_waves(bent: World, scorer: Scorer, tmp_path: Path) -> None:
    path = tmp_path / "probes.safetensors"
    scorer.save(path)
    again = Scorer.load(path)
    x = bent.features[TEST]
    np.testing.assert_allclose(again.score(x).success, scorer.score(x).success, atol=1e-4)
    assert again.weights()["matrix"].shape == scorer.weights()["matrix"].shape


def test_a_file_of_the_first_version_scores_as_it_did(bent: World, tmp_path: Path) -> None:
    path = tmp_path / "probes.safetensors"
    straight = ProbeBank(n_waves=0, trunk=False).fit(bent.features[TRAIN], bent.correct[TRAIN])
    scorer = assembled(bent, straight, Coordinates.fit(bent.features[TRAIN]), TRAIN, TEST)
    scorer.save(path)
    with safe_open(path, framework="numpy") as file:
        meta = json.loads(file.metadata()["foresight"])
    save_file(load_file(path), path, metadata={"foresight": json.dumps({**meta, "version": 1})})
    x = bent.features[TEST]
    np.testing.assert_allclose(Scorer.load(path).score(x).success, scorer.score(x).success, atol=1e-5)


def test_damaged_waves_are_refused(bank: ProbeBank) -> None:
    arrays = bank.to_arrays()
    whole = LinearProbes.from_arrays(arrays)
    assert whole.waves is not None
    for name, value in [
        ("waves_phases", None),
        ("waves_phases", np.zeros(3)),
        ("waves_phases", np.full(whole.waves.count, np.nan)),
        ("waves_directions", np.zeros((2, 2))),
        ("waves_frequencies", np.zeros(4)),
        ("on_waves", np.zeros((1, 1))),
    ]:
        broken = {key: array for key, array in arrays.items() if key != name}
        if value is not None:
            broken[name] = value
        with pytest.raises(ArtefactError):
            LinearProbes.from_arrays(broken)


def test_a_new_candidate_ranks_by_a_difficulty_that_bends(bent: World) -> None:
    old = ProbeBank().fit(bent.features[TRAIN], bent.correct[TRAIN, :2])
    grown, _ = old.add_candidate(np.empty((0, 12)), [])
    logit = grown.decision_function(bent.features[TEST])
    assert auroc(logit[:, 2], bent.correct[TEST, 2]) > 0.75
    np.testing.assert_allclose(logit[:, :2], old.decision_function(bent.features[TEST]), atol=1e-9)


def test_arrays_and_meta_hold_a_bank_with_waves(bent: World, bank: ProbeBank) -> None:
    meta = json.loads(json.dumps(bank.meta()))
    again = ProbeBank.from_arrays(bank.to_arrays(), meta)
    expected = bank.decision_function(bent.features[TEST])
    np.testing.assert_allclose(again.decision_function(bent.features[TEST]), expected, atol=1e-4)
    assert replace(again.probes_, waves=None, on_waves=None).n_candidates == 3
