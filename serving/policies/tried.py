"""An answer that a cascade looked at."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Tried:
    """One answer of a cascade that was looked at.

    Attributes
    ----------
    candidate
        Who answered.
    confidence
        Mean probability of its tokens; None where its backend did not tell.
    kept
        Whether the client was given it.
    cost_usd
        Price of the call; None where its tokens are unknown.
    reason
        Why it was kept, or not.
    """

    candidate: str
    confidence: float | None
    kept: bool
    cost_usd: float | None
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """For the explanation."""
        return asdict(self)
