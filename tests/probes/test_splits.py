"""Splits and folds keep groups whole, sizes near what was asked, and depend on nothing but names and seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.errors import DataError, UsageError
from probes.splits import FRACTIONS, grouped_folds, grouped_split, shared_groups

GROUPS = st.lists(st.integers(1, 4), min_size=20, max_size=80).map(
    lambda sizes: np.repeat(np.arange(len(sizes)), sizes).tolist()
)


@given(GROUPS, st.integers(0, 9))
def test_a_split_takes_every_row_once_and_no_group_twice(groups: list[int], seed: int) -> None:
    fractions = {"a": 0.6, "b": 0.4}
    split = grouped_split(groups, fractions, seed)
    rows = np.concatenate(list(split.values()))
    assert sorted(rows) == list(range(len(groups)))
    names = np.array(groups)
    assert shared_groups(names[split["a"]], names[split["b"]]) == []


@given(GROUPS, st.integers(0, 9))
def test_the_order_of_rows_changes_nothing(groups: list[int], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(groups))
    fold, shuffled = grouped_folds(groups, 4, seed), grouped_folds(np.array(groups)[order], 4, seed)
    assert np.array_equal(fold[order], shuffled)


def test_shares_are_met_when_groups_are_small() -> None:
    split = grouped_split([f"q{i}" for i in range(2000)], seed=3)
    assert {name: len(rows) / 2000 for name, rows in split.items()} == pytest.approx(
        dict(FRACTIONS), abs=1e-3
    )


def test_folds_of_single_queries_differ_by_one_at_most() -> None:
    sizes = np.bincount(grouped_folds(np.arange(103), 5, 0))
    assert sizes.max() - sizes.min() <= 1


def test_seeds_differ() -> None:
    groups = np.arange(100)
    assert not np.array_equal(grouped_folds(groups, 5, 0), grouped_folds(groups, 5, 1))


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(UsageError, match="sum to 1"):
        grouped_split([1, 2, 3], {"a": 0.5})
    with pytest.raises(DataError, match="too few"):
        grouped_split(["same"] * 9)
    with pytest.raises(DataError, match="cannot make 5 folds"):
        grouped_folds([1, 1, 2], 5)


def test_a_leak_is_found() -> None:
    assert shared_groups(["a", "b"], ["b", "c"]) == ["b"]
