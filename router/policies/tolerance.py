"""The cheapest candidate that is nearly as likely to succeed as the most likely one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from router.policies.table import CandidateTable, Choice


@dataclass(frozen=True)
class Tolerance:
    """The cheapest candidate whose success probability is at most `tolerance` below the highest.

    0 is the most likely candidate, 1 the cheapest.  Source: arXiv 2603.20895, "Decision"; 0.2 is its default.
    """

    tolerance: float = 0.2

    rule: ClassVar[str] = "tolerance"
    knob: ClassVar[str | None] = "tolerance"

    def choose(self, table: CandidateTable) -> Choice:
        """Choose for every query of the table."""
        highest = np.where(table.eligible, table.success, -np.inf).max(axis=1, keepdims=True)
        near = table.success >= highest - self.tolerance
        value = np.where(near, -table.cost_usd, table.success)

        def explain(i: int) -> str:
            near_enough = int((near & table.eligible)[i].sum())
            found = table.success[i, choice.index[i]]
            return (
                f"cheapest of {near_enough} within {self.tolerance:.2f} of the highest success"
                f" ({found:.2f}, highest {highest[i, 0]:.2f})"
            )

        choice = Choice(table, value, explain, tier=np.where(near, 0.0, 1.0))
        return choice
