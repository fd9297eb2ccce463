"""The cheapest candidate that is likely to succeed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from router.policies.table import CandidateTable, Choice


@dataclass(frozen=True)
class CheapestLikely:
    """The cheapest candidate whose success probability reaches `min_success`; if none does, the most likely.

    With two candidates and the dearer one as last resort this is the cascade decided before any answer of
    Lugoloobi et al., arXiv 2602.09924, with one threshold for all.
    """

    min_success: float = 0.7

    rule: ClassVar[str] = "cheapest-likely"
    knob: ClassVar[str | None] = "min_success"

    def choose(self, table: CandidateTable) -> Choice:
        """Choose for every query of the table."""
        likely = table.success >= self.min_success
        value = np.where(likely, -table.cost_usd, table.success)

        def explain(i: int) -> str:
            reaching = int((likely & table.eligible)[i].sum())
            best = table.success[i, choice.index[i]]
            if reaching == 0:
                return f"nobody reaches {self.min_success:.2f}; the most likely ({best:.2f})"
            return f"cheapest of {reaching} with success ≥ {self.min_success:.2f} ({best:.2f})"

        choice = Choice(table, value, explain, tier=np.where(likely, 0.0, 1.0))
        return choice
