"""Judge a policy that was never used on decisions that another one drew: estimates from a log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from eval.offpolicy import Estimate, Log, certain, doubly_robust, ips
from eval.tables import Floats
from probes.errors import DataError
from router.policies import CandidateTable, Policy


@dataclass(frozen=True)
class Drawn:
    """One rated decision whose candidate was drawn.

    Attributes
    ----------
    chosen : str
        Who answered.
    propensity : float
        Probability that it was chosen.
    correct : float
        Rating of the answer, in [0, 1].
    cost_usd : float
        What the answer has cost.
    success, expected_cost_usd : mapping of str to float
        What was predicted of each candidate.
    eligible : tuple of str
        Who could have answered.
    """

    chosen: str
    propensity: float
    correct: float
    cost_usd: float
    success: Mapping[str, float]
    expected_cost_usd: Mapping[str, float]
    eligible: tuple[str, ...]


@dataclass(frozen=True)
class Hindsight:
    """What a policy would have earned on the logged queries.

    Attributes
    ----------
    decisions : int
        Rated decisions of the log.
    logged_correct, logged_cost_usd : float
        Means of what really happened.
    correct_ips, cost_usd_ips : Estimate
        Self-normalised inverse propensity.
    correct, cost_usd : Estimate
        Doubly robust, by the logged predictions.
    """

    decisions: int
    logged_correct: float
    logged_cost_usd: float
    correct_ips: Estimate
    cost_usd_ips: Estimate
    correct: Estimate
    cost_usd: Estimate

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self)


def hindsight(log: Sequence[Drawn], names: Sequence[str], policy: Policy) -> Hindsight:
    """Estimate a policy's success and cost a query on a log.

    Parameters
    ----------
    log : sequence of Drawn
        Decisions with ratings.
    names : sequence of str
        The K candidates of today's pool; decisions for others, or without a prediction for one of these, are
        left out.
    policy : Policy
        To be judged.

    Raises
    ------
    DataError
        Nothing of the log can be used.
    """
    used = [d for d in log if d.chosen in names and set(names) <= set(d.success) & set(d.expected_cost_usd)]
    if not used:
        raise DataError(
            "The log holds no rated decision that was drawn among these candidates.",
            param="ledger",
            hint="Set explore: 0.02 in the pool's policy, and send feedback: POST /v1/feedback.",
        )
    success = np.array([[d.success[name] for name in names] for d in used])
    cost = np.array([[d.expected_cost_usd[name] for name in names] for d in used])
    able = np.array([[name in d.eligible for name in names] for d in used])
    choice = policy.choose(CandidateTable(success, cost, tuple(names), able))
    target: Floats = certain(choice.index, len(names)) if choice.propensity is None else choice.propensity
    chosen = np.array([list(names).index(d.chosen) for d in used], dtype=np.intp)
    propensity = np.array([d.propensity for d in used])
    correct, paid = (np.array([getattr(d, field) for d in used]) for field in ("correct", "cost_usd"))
    right, money = Log(chosen, propensity, correct, success), Log(chosen, propensity, paid, cost)
    return Hindsight(
        len(used),
        float(correct.mean()),
        float(paid.mean()),
        ips(right, target),
        ips(money, target),
        doubly_robust(right, target),
        doubly_robust(money, target),
    )
