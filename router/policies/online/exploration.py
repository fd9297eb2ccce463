"""Now and then somebody else: answers from which a policy that was never used can be judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from probes.errors import UsageError
from router.policies.table import CandidateTable, Choice, Floats, Policy


@dataclass(frozen=True)
class Explore:
    """A policy that, with a small probability, lets chance choose among the eligible candidates.

    The probability of the choice made is recorded (`Choice.propensity`); `eval.offpolicy` needs it. With rate
    ε and m eligible candidates it is ``ε/m`` for each, and ``1 − ε`` more for the policy's own.

    Attributes
    ----------
    base : Policy
        What is usually done.
    rate : float
        In [0, 1]; .02 costs about a fiftieth of the difference between the policy and chance.
    seed : int or None
        Makes the draws of one table repeatable.
    """

    base: Any
    rate: float
    seed: int | None = None

    rule: ClassVar[str] = "explore"
    knob: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        """Refuse a rate that is no probability."""
        if not 0.0 <= self.rate <= 1.0:
            raise UsageError(f"The rate must lie between 0 and 1, not {self.rate}.", param="explore")

    def choose(self, table: CandidateTable) -> Choice:
        """Choose for every query; where chance chose, the policy's own ranking follows."""
        policy: Policy = self.base
        own = policy.choose(table)
        rng = np.random.default_rng(self.seed)
        n, k = table.success.shape
        drawn = np.where(table.eligible, rng.random((n, k)), -1.0).argmax(axis=1)
        explores = rng.random(n) < self.rate
        index = np.where(explores, drawn, own.index)
        rank = np.argsort(own.ranking, axis=1).astype(np.float64)
        first = np.arange(k) == index[:, None]

        def explain(i: int) -> str:
            if explores[i]:
                return f"drawn at random to learn (one query in {1 / self.rate:.0f})"
            return own.reason[i]

        return Choice(
            table, -rank, explain, tier=np.where(first, 0.0, 1.0), propensity=self.probabilities(table, own)
        )

    def probabilities(self, table: CandidateTable, own: Choice) -> Floats:
        """Probability that each candidate is chosen, shape (n, K), given the policy's own choice."""
        chance = table.eligible / table.eligible.sum(axis=1, keepdims=True)
        certain = np.arange(table.success.shape[1]) == own.index[:, None]
        shares: Floats = self.rate * chance + (1.0 - self.rate) * certain
        return shares
