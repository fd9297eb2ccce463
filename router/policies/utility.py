"""The candidate that is worth most after its cost, in money."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from router.policies.table import CandidateTable, Choice, Floats, Ints


@dataclass(frozen=True)
class Utility:
    """The highest ``value_usd · success − cost − latency_usd_per_s · latency``.

    Unlike a weight on normalised costs (arXiv 2602.09924), every number here has a unit, and none moves
    when a candidate joins the pool.

    Attributes
    ----------
    value_usd : float
        What one right answer is worth, in US dollars.
    latency_usd_per_s : float
        What a second of waiting costs, in US dollars.
    """

    value_usd: float
    latency_usd_per_s: float = 0.0

    rule: ClassVar[str] = "utility"
    knob: ClassVar[str | None] = "value_usd"

    def choose(self, table: CandidateTable) -> Choice:
        """Choose for every query of the table."""
        value = self.value_usd * table.success - table.cost_usd
        if table.latency_s is not None:
            value = value - self.latency_usd_per_s * table.latency_s

        def explain(i: int) -> str:
            k = choice.index[i]
            return (
                f"most utility: ${self.value_usd:.3g} × {table.success[i, k]:.2f}"
                f" − ${table.cost_usd[i, k]:.3g} = ${value[i, k]:.3g}"
            )

        choice = Choice(table, value, explain)
        return choice

    @staticmethod
    def sweep(table: CandidateTable, values_usd: Floats) -> Ints:
        """Choices at m values of a right answer, shape (m, n), latency unpriced: as `choose`, but faster.

        The candidates lie in their order of cost, then of name, so that the first of equal worth is the one
        that `choose` takes.
        """
        ranks = np.broadcast_to(table.alphabetical, table.success.shape)
        order = np.lexsort((ranks, np.where(table.eligible, table.cost_usd, np.inf)), axis=-1)
        success, cost, able = (
            np.take_along_axis(array, order, axis=1)
            for array in (table.success, table.cost_usd, table.eligible)
        )
        success = np.where(able, success, 0.0)
        cost = np.where(able, cost, np.inf)
        rows = np.arange(len(table))
        return np.array([order[rows, (value * success - cost).argmax(axis=1)] for value in values_usd])
