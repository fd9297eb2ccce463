"""Splits that never part a group: the same question, asked twice, stays on one side."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from probes.errors import DataError, UsageError

Index = npt.NDArray[np.intp]

FRACTIONS: Mapping[str, float] = MappingProxyType(
    {"train": 0.5, "select": 0.2, "calibrate": 0.15, "test": 0.15}
)
"""The four regimes: fit probes, choose among them, calibrate and set knobs, report."""


def grouped_split(
    groups: npt.ArrayLike, fractions: Mapping[str, float] = FRACTIONS, seed: int = 0
) -> dict[str, Index]:
    """Split queries into named parts, whole groups at a time.

    Parameters
    ----------
    groups
        Group of each query [n], e.g. a hash of the normalised question.
    fractions
        Share of the queries for each part; positive, their sum is 1.
    seed
        The same groups (in any order), fractions and seed give the same split.

    Returns
    -------
    dict of str to int array
        Sorted row indices of each part; together every row once.

    Raises
    ------
    UsageError
        If the fractions are not positive or do not sum to 1.
    DataError
        If a part gets no group.
    """
    names, shares = list(fractions), np.array(list(fractions.values()), dtype=float)
    if not len(names) or (shares <= 0).any() or abs(shares.sum() - 1) > 1e-9:
        raise UsageError(f"Fractions must be positive and sum to 1, not {dict(fractions)}", param="fractions")
    index, count = _numbered(groups)
    order = np.random.default_rng(seed).permutation(len(count))
    middle = np.empty(len(count))
    middle[order] = (np.cumsum(count[order]) - count[order] / 2) / count.sum()
    part = np.searchsorted(np.cumsum(shares)[:-1], middle)
    found = {name: np.flatnonzero(part[index] == i) for i, name in enumerate(names)}
    if empty := [name for name, rows in found.items() if not len(rows)]:
        raise DataError(
            f"{len(count)} groups are too few: no query for {', '.join(empty)}",
            param="groups",
            hint="Give more questions.",
        )
    return found


def grouped_folds(groups: npt.ArrayLike, n_folds: int, seed: int = 0) -> Index:
    """Fold of each query, in 0..n_folds-1: groups whole, folds of nearly equal size.

    Parameters
    ----------
    groups
        Group of each query [n].
    n_folds
        At least 2 and at most the number of groups.
    seed
        The same groups (in any order) and seed give the same folds.

    Raises
    ------
    DataError
        If there are fewer groups than folds.
    """
    index, count = _numbered(groups)
    if not 2 <= n_folds <= len(count):
        raise DataError(f"{len(count)} groups cannot make {n_folds} folds (2 or more)", param="groups")
    order = np.random.default_rng(seed).permutation(len(count))
    order = order[np.argsort(-count[order], kind="stable")]  # the large groups first, then fill up
    fold = np.empty(len(count), dtype=np.intp)
    sizes = np.zeros(n_folds, dtype=np.intp)
    for group in order:
        fold[group] = sizes.argmin()
        sizes[fold[group]] += count[group]
    return fold[index]


def shared_groups(left: npt.ArrayLike, right: npt.ArrayLike) -> list[str]:
    """Groups that occur on both sides; a leak if the sides are splits."""
    return sorted(str(group) for group in np.intersect1d(np.asarray(left), np.asarray(right)))


def _numbered(groups: npt.ArrayLike) -> tuple[Index, Index]:
    names = np.asarray(groups)
    if names.ndim != 1 or not len(names):
        raise DataError(f"Groups must be a list of one or more, not {names.shape}", param="groups")
    _, index, count = np.unique(names, return_inverse=True, return_counts=True)
    return index, count
