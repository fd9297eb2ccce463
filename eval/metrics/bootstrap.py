"""Paired bootstrap intervals, resampling whole groups of questions.

Two routers judged on the same questions share their luck: intervals on a difference resample questions
for both at once. Paraphrases, repeated seeds and samples of one question are one group and are drawn
together; resampling rows would make every interval too short.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from eval.tables import Floats

_CELLS = 4_000_000
"""Draws × groups held at once: 32 MB."""


class Interval(NamedTuple):
    """A percentile interval."""

    low: float
    high: float


class GroupedBootstrap:
    """Resampled means over n rows in G groups.

    The same object draws the same groups in every call, so that all of its means are paired.

    Parameters
    ----------
    groups : sequence of length n
        Group of each row.
    draws : int
        Resamples.
    seed : int
        Same seed, same draws.
    """

    def __init__(
        self, groups: Sequence[Any] | np.ndarray[Any, Any], *, draws: int = 1000, seed: int = 0
    ) -> None:
        names, self._group = np.unique(np.asarray(groups), return_inverse=True)
        self.n_groups = len(names)
        self.draws = draws
        self.seed = seed

    def means(self, values: Floats) -> Floats:
        """Mean of each column in each resample.

        Parameters
        ----------
        values : ndarray of shape (n, m)
            Rows to be averaged; m quantities at once share the work.

        Returns
        -------
        ndarray of shape (draws, m)
            A resample draws G groups with replacement and divides the sum of their rows by their count.
        """
        table = np.column_stack([values, np.ones(len(values))])
        columns = (np.bincount(self._group, weights=column, minlength=self.n_groups) for column in table.T)
        totals = np.column_stack(list(columns))
        rng = np.random.default_rng(self.seed)
        sums = np.empty((self.draws, table.shape[1]))
        step = max(1, _CELLS // self.n_groups)
        for start in range(0, self.draws, step):
            stop = min(start + step, self.draws)
            picks = rng.integers(0, self.n_groups, size=(stop - start, self.n_groups))
            offsets = np.arange(stop - start)[:, None] * self.n_groups
            counts = np.bincount((picks + offsets).ravel(), minlength=(stop - start) * self.n_groups)
            sums[start:stop] = counts.reshape(stop - start, self.n_groups) @ totals
        return np.asarray(sums[:, :-1] / sums[:, -1:])


def interval(values: Floats, *, confidence: float = 0.95) -> Interval:
    """The central percentile interval of resampled values; NaN when any of them is NaN."""
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return Interval(float(low), float(high))
