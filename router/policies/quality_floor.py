"""The cheapest candidate that is hardly less likely to succeed than a reference candidate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from probes.errors import UsageError
from router.policies.table import CandidateTable, Choice, Floats, Ints


@dataclass(frozen=True)
class QualityFloor:
    """Leave the reference only for a cheaper candidate whose success is at most `slack` lower.

    The reference is the best single candidate. A slack of −1 never leaves it; the more slack, the more
    queries do. `router.fit.guarantee.certify` sets the slack so that accuracy stays above a floor with a
    stated confidence.

    Attributes
    ----------
    candidate : str
        The reference.
    slack : float
        In [−1, 1]; negative: others must be *more* likely to succeed.
    """

    candidate: str
    slack: float = -1.0

    rule: ClassVar[str] = "quality-floor"
    knob: ClassVar[str | None] = "slack"

    def choose(self, table: CandidateTable) -> Choice:
        """Choose for every query; where the reference cannot answer, the most likely stands in."""
        if self.candidate not in table.names:
            known = ", ".join(table.names)
            raise UsageError(f"There is no candidate {self.candidate!r} (known: {known}).", param="candidate")
        home = table.names.index(self.candidate)
        present = table.eligible[:, home]
        highest = np.where(table.eligible, table.success, -np.inf).max(axis=1)
        level = np.where(present, np.where(present, table.success[:, home], 0.0), highest)
        rivals = table.success >= (level - self.slack)[:, None]
        is_home = np.arange(len(table.names)) == home
        first = (
            is_home | (rivals & (table.cost_usd < table.cost_usd[:, [home]])) | (rivals & ~present[:, None])
        )
        value = np.where(first, -table.cost_usd, table.success)

        def explain(i: int) -> str:
            k = choice.index[i]
            if k == home:
                return f"nobody cheaper comes within {self.slack:+.2f} of {self.candidate}'s success"
            return (
                f"cheapest with success ≥ {self.candidate}'s {level[i]:.2f} less {self.slack:.2f}"
                f" ({table.success[i, k]:.2f})"
            )

        choice = Choice(table, value, explain, tier=np.where(first, 0.0, 1.0))
        return choice

    def sweep(self, table: CandidateTable, slacks: Floats) -> Ints:
        """Choices at m slacks at once, shape (m, n): what `choose` would choose at each, but much faster.

        A query goes to the first candidate, by cost, whose success reaches the reference's less the slack;
        the running maximum of success along that order says where it stands.
        """
        home = table.names.index(self.candidate)
        present = table.eligible[:, [home]]
        highest = np.where(table.eligible, table.success, -np.inf).max(axis=1, keepdims=True)
        level = np.where(present, table.success[:, [home]], highest)
        allowed = table.eligible & ((table.cost_usd < table.cost_usd[:, [home]]) | ~present)
        names = np.broadcast_to(table.alphabetical, allowed.shape)
        order = np.lexsort((names, np.where(allowed, table.cost_usd, np.inf)), axis=-1)
        success = np.take_along_axis(np.where(allowed, table.success, -np.inf), order, axis=1)
        reached = np.maximum.accumulate(success, axis=1)
        last = Choice(table, table.success, str, tier=(np.arange(len(table.names)) != home) * 1.0).index
        choices = np.empty((len(slacks), len(table)), dtype=np.intp)
        for row, slack in zip(choices, slacks, strict=True):
            place = (reached < level - slack).sum(axis=1)
            found = place < len(table.names)
            row[:] = np.where(found, order[np.arange(len(table)), np.where(found, place, 0)], last)
        return choices
