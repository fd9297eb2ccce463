"""Expected lengths are means, not medians; intervals hold what they say; little data is no trap."""

from __future__ import annotations

import numpy as np
import pytest

from probes.errors import ArtefactError, DataError
from probes.scoring.length import LengthHead


def answers(n: int = 3000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features and log-normal lengths of two candidates."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 10)).astype(np.float32)
    logs = 5 + 0.5 * features[:, :1] + np.array([0.0, 1.0]) + rng.normal(size=(n, 2)) * [0.4, 0.9]
    return features, np.ceil(np.exp(logs))


def test_expected_lengths_are_means() -> None:
    features, tokens = answers()
    found = LengthHead().fit(features[:2000], tokens[:2000]).predict(features[2000:])
    np.testing.assert_allclose(found.expected.mean(axis=0), tokens[2000:].mean(axis=0), rtol=0.08)
    true = np.exp(5 + 0.5 * features[2000:, 0] + 0.4**2 / 2)
    assert np.abs(found.expected[:, 0] / true - 1).mean() < 0.1


def test_the_interval_holds_its_share() -> None:
    features, tokens = answers()
    found = LengthHead(coverage=0.9).fit(features[:2000], tokens[:2000]).predict(features[2000:])
    inside = (tokens[2000:] >= found.low) & (tokens[2000:] <= found.high)
    np.testing.assert_allclose(inside.mean(axis=0), 0.9, atol=0.03)


def test_predictions_stay_within_what_was_seen() -> None:
    features, tokens = answers(300)
    head = LengthHead().fit(features, tokens)
    far = head.predict(features * 1000)
    assert (far.expected <= tokens.max(axis=0) * head.smearing * (1 + 1e-9)).all()
    assert np.isfinite(far.expected).all()


def test_unknown_lengths_are_left_out_and_a_candidate_without_any_gets_the_pools() -> None:
    features, tokens = answers()
    tokens[:, 0][::2] = np.nan
    blind = np.column_stack([tokens, np.full(len(tokens), np.nan)])
    found = LengthHead().fit(features, blind).predict(features).expected
    assert np.isfinite(found).all()
    assert np.nanmin(tokens) < found[:, 2].mean() < np.nanmax(tokens)


def test_two_answers_are_enough_for_a_level() -> None:
    features, tokens = answers(2)
    assert np.isfinite(LengthHead().fit(features, tokens).predict(features).expected).all()


def test_a_new_candidates_lengths_move_with_its_answers() -> None:
    features, tokens = answers()
    head = LengthHead().fit(features, tokens).with_typical_candidate()
    typical = head.predict(features).expected
    np.testing.assert_allclose(np.log(typical[:, 2]).mean(), np.log(typical[:, :2]).mean(), atol=0.15)
    moved = head.scaled(2, np.full(50, 9000.0), features[:50]).predict(features).expected
    assert np.median(moved[:, 2]) > 5 * np.median(typical[:, 2])
    np.testing.assert_array_equal(moved[:, :2], typical[:, :2])


def test_arrays_hold_all_of_it() -> None:
    features, tokens = answers(100)
    head = LengthHead().fit(features, tokens)
    again = LengthHead.from_arrays(head.to_arrays(), head.coverage)
    np.testing.assert_array_equal(again.predict(features).expected, head.predict(features).expected)
    with pytest.raises(ArtefactError, match="smearing"):
        LengthHead.from_arrays({k: v for k, v in head.to_arrays().items() if k != "smearing"}, 0.8)
    with pytest.raises(ArtefactError, match="do not fit"):
        LengthHead.from_arrays({**head.to_arrays(), "smearing": np.ones(5)}, 0.8)


@pytest.mark.parametrize("wrong", [np.full((9, 2), np.nan), np.full((9, 2), -1.0), np.full((8, 2), 1.0)])
def test_bad_lengths_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(DataError):
        LengthHead().fit(np.zeros((9, 2)), wrong)
