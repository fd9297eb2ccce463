"""Ordinary queries rarely alarm, strange ones do, in known directions and unknown ones alike."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis

from probes.errors import ArtefactError, DataError, UsageError
from probes.scoring.novelty import Novelty


def ordinary(n: int, seed: int) -> np.ndarray:
    """Low-rank features with a little noise around a mean."""
    basis = np.random.default_rng(99).normal(size=(6, 40))
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, 6)) @ basis + 0.3 * rng.normal(size=(n, 40)) + 5).astype(np.float32)


@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_false_alarms_are_as_rare_as_stated(rate: float) -> None:
    novelty = Novelty(false_alarm_rate=rate).fit(ordinary(1000, 0), ordinary(2000, 1))
    assert novelty.is_novel(ordinary(20000, 2)).mean() == pytest.approx(rate, rel=0.35)
    assert novelty.distance(ordinary(2000, 3)).mean() == pytest.approx(1, abs=0.1)


def test_strange_queries_alarm() -> None:
    novelty = Novelty(n_directions=6).fit(ordinary(1000, 0), ordinary(1000, 1))
    usual, rng = ordinary(500, 2), np.random.default_rng(0)
    assert novelty.is_novel((usual - 5) * 6 + 5).mean() > 0.95
    assert novelty.is_novel(usual + 2 * rng.normal(size=usual.shape).astype(np.float32)).mean() > 0.95
    assert novelty.is_novel(-usual).mean() > 0.95


def test_with_all_directions_it_is_the_mahalanobis_distance() -> None:
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(400, 5)) @ rng.normal(size=(5, 5))).astype(np.float32)
    novelty = Novelty(n_directions=5).fit(features, features[:50])
    inverse = np.linalg.inv(np.cov(features.T, bias=True))
    expected = [mahalanobis(row, features.mean(axis=0), inverse) / np.sqrt(5) for row in features[:20]]
    np.testing.assert_allclose(novelty.distance(features[:20]) * np.sqrt(2), expected, rtol=5e-2)


def test_few_held_out_queries_set_the_threshold_at_their_largest() -> None:
    held_out = ordinary(5, 1)
    novelty = Novelty().fit(ordinary(100, 0), held_out)
    assert novelty.threshold == pytest.approx(novelty.distance(held_out).max())


def test_arrays_hold_all_of_it() -> None:
    novelty = Novelty().fit(ordinary(100, 0), ordinary(50, 1))
    again = Novelty.from_arrays(novelty.to_arrays(), 0.01)
    np.testing.assert_array_equal(again.distance(ordinary(9, 2)), novelty.distance(ordinary(9, 2)))
    with pytest.raises(ArtefactError, match="do not fit"):
        Novelty.from_arrays({**novelty.to_arrays(), "pull": np.ones(3)}, 0.01)
    with pytest.raises(ArtefactError, match="variance"):
        Novelty.from_arrays({k: v for k, v in novelty.to_arrays().items() if k != "variance"}, 0.01)


def test_bad_input_is_refused() -> None:
    with pytest.raises(UsageError, match="false alarm rate"):
        Novelty(false_alarm_rate=0)
    with pytest.raises(DataError):
        Novelty().fit(ordinary(10, 0), np.empty((0, 40)))
    with pytest.raises(DataError, match="wide"):
        Novelty().fit(ordinary(10, 0), np.ones((3, 7)))
