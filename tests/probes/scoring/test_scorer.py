"""One matrix product says what the parts say; a file is whole or refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from probes.errors import ArtefactError, DataError
from probes.estimators.bank import ProbeBank
from probes.scoring.calibration import Calibrator
from probes.scoring.length import LengthHead
from probes.scoring.novelty import Novelty
from probes.scoring.scorer import ROWS_AT_ONCE, Scorer
from tests.probes.worlds import World, make_world


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(1200, candidates=3)


@pytest.fixture(scope="module")
def tokens(world: World) -> np.ndarray:
    return np.exp(5 + 0.3 * world.features[:, :3] + np.random.default_rng(0).normal(size=(1200, 3)) * 0.2)


@pytest.fixture(scope="module")
def bank(world: World) -> ProbeBank:
    return ProbeBank().fit(world.features[:700], world.correct[:700])


@pytest.fixture(scope="module")
def scorer(world: World, tokens: np.ndarray, bank: ProbeBank) -> Scorer:
    x = world.features
    calibrator = Calibrator.fit(bank.decision_function(x[700:]), world.correct[700:], kinds=("isotonic",))
    mixed = calibrator.with_curve(
        Calibrator.fit(bank.decision_function(x[700:]), world.correct[700:], kinds=("beta",)).curves[0], 0
    )
    return Scorer.assemble(
        bank,
        calibrator=mixed,
        length=LengthHead().fit(x[:700], tokens[:700]),
        novelty=Novelty().fit(x[:700], x[700:]),
    )


def test_it_says_what_its_parts_say(scorer: Scorer, bank: ProbeBank, world: World) -> None:
    x = world.features[: ROWS_AT_ONCE * 2 + 5]
    table = scorer.score(x)
    success = scorer.calibrator.transform(bank.decision_function(x))
    np.testing.assert_allclose(table.success, success, atol=1e-4)
    np.testing.assert_allclose(table.output_tokens, scorer.lengths(x).expected, rtol=1e-4)
    np.testing.assert_allclose(table.novelty, scorer.novelty.distance(x), rtol=1e-4)
    assert np.array_equal(table.novel, table.novelty > scorer.novelty.threshold)


def test_one_query_scores_as_it_does_among_others(scorer: Scorer, world: World) -> None:
    table, alone = scorer.score(world.features[:9]), scorer.score(world.features[4])
    np.testing.assert_allclose(alone.success[0], table.success[4], rtol=1e-5)
    assert alone.novelty[0] == pytest.approx(table.novelty[4], rel=1e-4)


def test_a_file_holds_all_of_it(scorer: Scorer, world: World, tmp_path: Path) -> None:
    path = tmp_path / "probes.safetensors"
    scorer.save(path)
    again = Scorer.load(path)
    before, after = scorer.score(world.features[:50]), again.score(world.features[:50])
    np.testing.assert_allclose(after.success, before.success, atol=1e-6)
    np.testing.assert_allclose(after.output_tokens, before.output_tokens, rtol=1e-5)
    np.testing.assert_array_equal(after.novel, before.novel)
    assert [file.name for file in tmp_path.iterdir()] == ["probes.safetensors"]
    again.save(path)  # in place of the old one
    assert Scorer.load(path).calibrator.kinds == ("beta", "isotonic", "isotonic")


def test_every_truncation_of_a_file_is_refused(scorer: Scorer, tmp_path: Path) -> None:
    path = tmp_path / "probes.safetensors"
    scorer.save(path)
    whole = path.read_bytes()
    for length in (0, 4, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ArtefactError, match="cannot be read"):
            Scorer.load(path)


def test_foreign_files_are_refused(scorer: Scorer, tmp_path: Path) -> None:
    path = tmp_path / "probes.safetensors"
    with pytest.raises(ArtefactError, match="cannot be read"):
        Scorer.load(path)
    save_file({"x": np.ones(3)}, path)
    with pytest.raises(ArtefactError, match="None version None"):
        Scorer.load(path)
    scorer.save(path)
    arrays = load_file(path)
    meta = {
        "format": "foresight-scorer",
        "version": 1,
        "calibration_kinds": ["platt"] * 3,
        "length_coverage": 0.8,
        "false_alarm_rate": 0.01,
    }
    for changed, message in [
        ({**meta, "version": 4}, "version 4"),
        ({**meta, "calibration_kinds": ["platt"]}, "does not fit"),
        ({k: v for k, v in meta.items() if k != "length_coverage"}, "damaged"),
    ]:
        save_file(arrays, path, metadata={"foresight": json.dumps(changed)})
        with pytest.raises(ArtefactError, match=message):
            Scorer.load(path)
    for name, array in [
        ("probes.level", np.zeros(7)),
        ("length.offsets", np.zeros(2)),
        ("probes.level", np.full(3, np.nan)),
    ]:
        save_file({**arrays, name: array}, path, metadata={"foresight": json.dumps(meta)})
        with pytest.raises(ArtefactError):
            Scorer.load(path)


def test_parts_of_different_pools_do_not_make_a_scorer(scorer: Scorer) -> None:
    with pytest.raises(ArtefactError, match="do not fit"):
        Scorer(scorer.probes, Calibrator.identity(2), scorer.length, scorer.novelty)


def test_bad_activations_are_refused(scorer: Scorer, world: World) -> None:
    broken = world.features[:5].copy()
    broken[3, 2] = np.nan
    with pytest.raises(DataError, match="query 3 are not finite"):
        scorer.score(broken)
    with pytest.raises(DataError, match=r"must be \[queries, 20\]"):
        scorer.score(world.features[:, :7])


def test_scoring_needs_no_scikit_learn(scorer: Scorer, tmp_path: Path) -> None:
    import subprocess
    import sys

    scorer.save(tmp_path / "p.safetensors")
    code = (
        "import sys, numpy; from probes import Scorer; "
        f"Scorer.load({str(tmp_path / 'p.safetensors')!r}).score(numpy.zeros(20)); "
        "print([m for m in ('sklearn', 'scipy', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_a_candidate_joins_a_scorer(scorer: Scorer, world: World, tmp_path: Path) -> None:
    x, y = world.features[700:], world.correct[700:, 1]
    grown, canary = scorer.add_candidate(x, y, output_tokens=np.full(len(y), 5000.0))
    table, before = grown.score(x), scorer.score(x)
    assert canary.verdict == "ranks"
    np.testing.assert_allclose(table.success[:, :3], before.success, atol=1e-6)
    assert table.success[:, 3].mean() == pytest.approx(y.mean(), abs=0.03)
    assert np.median(table.output_tokens[:, 3]) == pytest.approx(5000, rel=0.2)
    grown.save(tmp_path / "p")
    assert Scorer.load(tmp_path / "p").n_candidates == 4


def test_recalibration_follows_new_outcomes_and_leaves_what_has_none(scorer: Scorer, world: World) -> None:
    x = world.features[700:]
    better = np.full((len(x), 3), np.nan)
    before = scorer.score(x).success
    better[:, 1] = np.random.default_rng(0).random(len(x)) < 0.5 + before[:, 1] / 2
    fresh, canaries = scorer.recalibrate(x, better)
    after = fresh.score(x).success
    assert after[:, 1].mean() == pytest.approx(better[:, 1].mean(), abs=0.03)
    np.testing.assert_allclose(after[:, [0, 2]], before[:, [0, 2]], atol=1e-6)
    assert [canary.n_labels for canary in canaries] == [0, 500, 0]
