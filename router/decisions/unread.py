"""The usual decision about a query that nobody read: the safe candidate's, without arrays.

A gateway without a scout makes this decision for every request. `deciding.decide` makes all decisions; this
is the same one for a single query that everybody can answer, in a tenth of the time (a test compares them).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf

from router.configuration.pool import Candidate, Pool
from router.decisions.deciding import BLIND, SAFE
from router.decisions.decision import Decision
from router.decisions.eligibility import Requirements
from router.decisions.wishes import Wishes
from router.fitted import Fitted
from router.policies import Policy


@dataclass(frozen=True, eq=False)
class Unread:
    """What is known of the candidates' answers to a query that was not read.

    Attributes
    ----------
    pool : Pool
        K candidates.
    fitted : Fitted
        Their means over the calibration split.
    """

    pool: Pool
    fitted: Fitted

    def decide(
        self, tokens: float, why: str, safe: str, policy: Policy, wishes: Wishes, needs: Requirements
    ) -> Decision | None:
        """The safe candidate, the others after it; None where there is more to think about.

        Parameters
        ----------
        tokens : float
            Length of the prompt.
        why : str
            Why it was not read.
        safe : str
            Name of the safe candidate.
        policy, wishes, needs
            As for `deciding.decide`.
        """
        if isinstance(policy, BLIND) or wishes.max_cost_usd is not None or wishes.min_success is not None:
            return None
        if needs.exclude or needs.capabilities or not all(self._holds(c, tokens, needs) for c in self._all):
            return None
        success = {name: float(self.fitted.success[name]) for name in self.pool.names}
        limit = inf if needs.max_output_tokens is None else float(needs.max_output_tokens)
        lengths = {name: float(min(self.fitted.output_tokens[name], limit)) for name in self.pool.names}
        cost_usd = {c.name: _cost_usd(c, tokens, lengths[c.name] * needs.n) for c in self._all}
        others = [name for name in self.pool.names if name != safe]
        if len(others) > 1:
            others.sort(key=lambda name: (-success[name], cost_usd[name], name))
        return Decision(
            candidate=safe,
            reason=f"{why}; safe candidate: always {safe}",
            policy=SAFE,
            success=success,
            expected_cost_usd=cost_usd,
            expected_output_tokens=lengths,
            ranking=(safe, *others),
            input_tokens=int(tokens),
        )

    @property
    def _all(self) -> tuple[Candidate, ...]:
        return self.pool.candidates

    def _holds(self, candidate: Candidate, tokens: float, needs: Requirements) -> bool:
        """Whether the prompt and the room for an answer fit into a candidate's context."""
        wanted = needs.max_output_tokens
        room = self.fitted.output_tokens[candidate.name] if wanted is None else float(wanted)
        room = max(1.0, min(room, candidate.max_output_tokens or inf))
        return ceil(tokens + room) <= candidate.context_tokens


def _cost_usd(candidate: Candidate, tokens: float, output_tokens: float) -> float:
    price = candidate.price
    return (tokens * price.usd_per_mtok_in + output_tokens * price.usd_per_mtok_out) / 1e6
