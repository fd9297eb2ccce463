"""Selection reads the layer that knows, and no more of them than help."""

from __future__ import annotations

import numpy as np
import pytest

from probes.encoders.encoder import Activations
from probes.errors import UsageError
from probes.estimators.selection import Option, default_options, select
from tests.probes.worlds import make_world

WORLD = make_world(700, candidates=3)


def activations(*informative: tuple[int, int]) -> Activations:
    """Three layers, two positions: noise but for the given slices."""
    values = np.random.default_rng(0).normal(size=(700, 3, 2, 20))
    for layer, position in informative:
        values[:, layer, position] = WORLD.features
    return Activations(values.astype(np.float16), np.full(700, 9))


def test_the_slice_that_knows_is_found() -> None:
    found = select(activations((1, 1)), WORLD.correct)
    assert found.chosen == Option((1,), (1,))
    assert found.judged[0].excess == 0
    assert found.to_dict()["chosen"] == {"layers": [1], "positions": [1]}


def test_of_equals_the_shallowest_is_taken() -> None:
    assert select(activations((2, 0), (1, 0)), WORLD.correct).chosen == Option((1,), (0,))


def test_two_slices_are_read_where_one_does_not_do() -> None:
    values = activations().values.copy()
    values[:, 0, 0, :10], values[:, 2, 0, :10] = WORLD.features[:, :10], WORLD.features[:, 10:]
    found = select(Activations(values, np.full(700, 9)), WORLD.correct)
    assert found.chosen == Option((0, 1, 2), (0,))


def test_options_are_singles_halves_and_all() -> None:
    options = default_options(4, 2)
    assert len(options) == len(set(options)) == 8 + 3 + 3
    assert default_options(1, 1) == (Option((0,), (0,)),)


def test_progress_and_empty_options() -> None:
    told: list[tuple[int, int]] = []
    some = [Option((0,), (0,)), Option((1,), (0,))]
    select(activations((0, 0)), WORLD.correct, options=some, progress=lambda *at: told.append(at))
    assert told == [(1, 2), (2, 2)]
    with pytest.raises(UsageError, match="No options"):
        select(activations(), WORLD.correct, options=[])
