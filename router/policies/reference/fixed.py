"""Always the same candidate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from probes.errors import UsageError
from router.policies.table import CandidateTable, Choice


@dataclass(frozen=True)
class Fixed:
    """One candidate whenever it is eligible, else the most likely of the others."""

    candidate: str

    rule: ClassVar[str] = "fixed"
    knob: ClassVar[str | None] = None

    def choose(self, table: CandidateTable) -> Choice:
        """Choose for every query of the table."""
        if self.candidate not in table.names:
            known = ", ".join(table.names)
            raise UsageError(
                f"There is no candidate {self.candidate!r} (there are: {known}).", param="candidate"
            )
        own = table.names.index(self.candidate)
        others = np.ones(len(table.names))
        others[own] = 0.0

        def explain(i: int) -> str:
            if choice.index[i] == own:
                return f"always {self.candidate}"
            return f"{self.candidate} cannot answer; the most likely of the others"

        choice = Choice(table, table.success, explain, tier=others)
        return choice
