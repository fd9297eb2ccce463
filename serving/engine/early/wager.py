"""Whether an answer is begun before it is decided who answers: not where it was hardly ever wanted lately.

What was begun in vain costs the engine some steps and somebody the trouble to stop it; what was not begun and
is wanted after all costs a request more, whose prompt is in the engine's prefix cache by then.
"""

from __future__ import annotations

LEAST = 0.1
"""Share of recent queries that wanted the answer, below which it is not begun."""
MEMORY = 20
"""Queries after which what was seen before counts e times less."""


class Wager:
    """How often begun answers were wanted of late, policy by policy; at first it is thought: always."""

    def __init__(self) -> None:
        self._share: dict[str, float] = {}

    def worth(self, policy: str) -> bool:
        """Whether to begin."""
        return self._share.get(policy, 1.0) >= LEAST

    def learn(self, policy: str, wanted: bool) -> None:
        """Of one query, whether or not its answer was begun."""
        share = self._share.get(policy, 1.0)
        self._share[policy] = share + (wanted - share) / MEMORY
