"""Hindsight: the ceiling that no router can pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from probes.errors import UsageError
from router.policies.table import CandidateTable, Choice, Floats


@dataclass(frozen=True, eq=False)
class Oracle:
    """The cheapest candidate that was right; the cheapest of all if none was.

    Attributes
    ----------
    correct : ndarray of shape (n, K)
        What happened, in [0, 1]; NaN counts as wrong. Of shares of right draws, the highest wins.
    """

    correct: Floats

    rule: ClassVar[str] = "oracle"
    knob: ClassVar[str | None] = None

    def choose(self, table: CandidateTable) -> Choice:
        """Choose for every query of the table."""
        correct = np.nan_to_num(np.asarray(self.correct, dtype=np.float64), nan=0.0)
        if correct.shape != table.success.shape:
            raise UsageError(
                f"correct has shape {correct.shape}, not {table.success.shape}.", param="correct"
            )
        return Choice(table, correct, lambda _: "the cheapest that was right, in hindsight")
