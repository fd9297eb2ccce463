"""One choice with its whole explanation."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from router.policies.cascade import Cascade


def new_id() -> str:
    """A fresh decision id: milliseconds since 1970, then 80 random bits.

    Ids of one time are neighbours, so that a ledger's index grows at its end (as with UUID version 7).
    """
    return f"dec-{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"


@dataclass(frozen=True)
class Decision:
    """Who answers a query, and why.

    Attributes
    ----------
    candidate : str
        The chosen candidate.
    reason : str
        Why, in one clause for people.
    policy : str
        The rule that chose, or ``safe`` where the router could not tell.
    success : dict of str to float
        Calibrated probability, per candidate, of a right answer in one draw.
    expected_cost_usd : dict of str to float
        Expected cost of the answer, per candidate, in US dollars; the scout's is apart.
    expected_output_tokens : dict of str to float
        Expected length of the answer, per candidate, in tokens.
    ranking : tuple of str
        The eligible candidates, the chosen one first; whoever fails is followed by the next.
    ineligible : dict of str to str
        Why the others cannot answer.
    novelty : float or None
        Distance of the prompt from those that the router was fitted on; None if it was not read.
    novel : bool
        Whether that is too far to trust the probabilities.
    scout_cost_usd : float
        Cost of reading the prompt, in US dollars.
    input_tokens : int
        Length of the prompt in the scout's tokens; 0 if it was not read.
    propensity : float or None
        Probability of this very choice, where the policy draws; off-policy estimates need it.
    cascade : Cascade, optional
        Where the answer's own confidence decides whether somebody else is asked: who, and at what confidence.
    id : str
        Unique name of this decision.
    """

    candidate: str
    reason: str
    policy: str
    success: dict[str, float]
    expected_cost_usd: dict[str, float]
    expected_output_tokens: dict[str, float]
    ranking: tuple[str, ...]
    ineligible: dict[str, str] = field(default_factory=dict)
    novelty: float | None = None
    novel: bool = False
    scout_cost_usd: float = 0.0
    input_tokens: int = 0
    propensity: float | None = None
    cascade: Cascade | None = None
    id: str = field(default_factory=new_id)

    def to_dict(self) -> dict[str, Any]:
        """The decision as JSON-ready values."""
        cascade = None if self.cascade is None else {**asdict(self.cascade), "ladder": [*self.cascade.ladder]}
        return {**asdict(self), "ranking": list(self.ranking), "cascade": cascade}
