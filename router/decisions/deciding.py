"""From scores to decisions: eligibility, the request's wishes and the policy, in this order.

Pure: no model, no file; the same code for one query and for a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from probes.errors import UsageError
from router.configuration.pool import Pool
from router.decisions.cost import expected_cost_usd, scout_cost_usd
from router.decisions.decision import Decision
from router.decisions.eligibility import Requirements, eligible
from router.decisions.wishes import Wishes
from router.policies import CandidateTable, Cascade, Choice, Fixed, Policy, RandomMix
from router.policies.table import Floats

SAFE = "safe"
"""Policy of a decision that the router could not make: the safe candidate's."""
BLIND = (Fixed, RandomMix)
"""Policies that need to know nothing of a query."""


@dataclass(frozen=True, eq=False)
class Scores:
    """What is known about n queries before anything is decided, in the pool's order of K candidates.

    Attributes
    ----------
    success : ndarray of shape (n, K)
        Probability of a right answer.
    output_tokens : ndarray of shape (n, K)
        Expected answer lengths.
    input_tokens : ndarray of shape (n,)
        Prompt lengths.
    novelty : ndarray of shape (n,), optional
        Distance from the fitted prompts; None where the queries were not read.
    novel : ndarray of bool of shape (n,), optional
        Whether that is too far.
    unread : str, optional
        Why the queries were not read; the safe candidate answers them.
    queue_s : ndarray of shape (K,), optional
        Seconds that each candidate's server lets a query wait before it begins.
    cached_tokens : ndarray of shape (n, K), optional
        Prompt tokens that each candidate's server holds from earlier turns; another candidate would have to
        read them again.
    """

    success: Floats
    output_tokens: Floats
    input_tokens: Floats
    novelty: Floats | None = None
    novel: np.ndarray[Any, np.dtype[np.bool_]] | None = None
    unread: str | None = None
    queue_s: Floats | None = None
    cached_tokens: Floats | None = None

    def __len__(self) -> int:
        return len(self.success)


def decide(
    pool: Pool, scores: Scores, policy: Policy, safe: str, wishes: Wishes, needs: Requirements
) -> list[Decision]:
    """Decide n queries.

    Parameters
    ----------
    pool : Pool
        K candidates and the scout's price.
    scores : Scores
        What is known of the queries.
    policy : Policy
        Chooses where the router knows.
    safe : str
        Answers where it does not: queries that are novel or were not read.
    wishes : Wishes
        Limits of cost and success.
    needs : Requirements
        What the answers need.

    Raises
    ------
    UsageError
        No candidate is eligible for a query.
    """
    mask, ineligible = eligible(pool, needs, scores.input_tokens, scores.output_tokens)
    _check_somebody(mask, ineligible)
    lengths = scores.output_tokens
    if needs.max_output_tokens is not None:
        lengths = np.minimum(lengths, float(needs.max_output_tokens))
    prices = pool.prices
    if scores.cached_tokens is not None:
        prices = np.column_stack([prices, pool.columns.cached_prices])
    cost_usd = expected_cost_usd(
        prices, scores.input_tokens, lengths * needs.n, cached_tokens=scores.cached_tokens
    )
    table = CandidateTable(
        scores.success, cost_usd, pool.names, mask, _latency_s(pool, lengths, scores.queue_s)
    )
    table = wishes.apply(table, ineligible)
    choices = _choices(table, scores, policy, safe)
    read = scores.unread is None
    scout_usd = scout_cost_usd(pool.scout.price_usd_per_mtok if read else 0.0, scores.input_tokens)
    names, decisions = pool.names, []
    for i, (choice, rule, prefix) in enumerate(choices):
        able = int(np.count_nonzero(table.eligible[i]))
        ranking = tuple([names[k] for k in choice.ranking[i, :able].tolist()])
        decisions.append(
            Decision(
                candidate=ranking[0],
                reason=prefix + choice.reason[i],
                policy=rule,
                success=_by_name(names, scores.success[i]),
                expected_cost_usd=_by_name(names, cost_usd[i]),
                expected_output_tokens=_by_name(names, lengths[i]),
                ranking=ranking,
                ineligible=ineligible[i],
                novelty=None if scores.novelty is None else float(scores.novelty[i]),
                novel=scores.novel is not None and bool(scores.novel[i]),
                scout_cost_usd=float(scout_usd[i]),
                input_tokens=int(scores.input_tokens[i]),
                propensity=_propensity(choice, i),
                cascade=policy.able(ranking) if isinstance(policy, Cascade) and rule == policy.rule else None,
            )
        )
    return decisions


def _choices(
    table: CandidateTable, scores: Scores, policy: Policy, safe: str
) -> list[tuple[Choice, str, str]]:
    """Choice, rule and beginning of the reason for each query."""
    blind = isinstance(policy, BLIND)
    if scores.unread is not None and not blind:
        return [(Fixed(safe).choose(table), SAFE, f"{scores.unread}; safe candidate: ")] * len(scores)
    own = (policy.choose(table), policy.rule, "")
    if scores.novel is None or scores.novelty is None or blind or not scores.novel.any():
        return [own] * len(scores)
    fallback = (Fixed(safe).choose(table), SAFE)
    away = [f"unlike the fitted prompts (novelty {value:.3g}); safe candidate: " for value in scores.novelty]
    return [(*fallback, away[i]) if scores.novel[i] else own for i in range(len(scores))]


def _propensity(choice: Choice, i: int) -> float | None:
    return None if choice.propensity is None else float(choice.propensity[i, choice.index[i]])


def _check_somebody(mask: np.ndarray[Any, Any], ineligible: list[dict[str, str]]) -> None:
    if mask.all():
        return
    nobody = ~mask.any(axis=1)
    if nobody.any():
        why = "; ".join(f"{name}: {reason}" for name, reason in ineligible[int(nobody.argmax())].items())
        raise UsageError(f"No candidate can answer this request: {why}.", param="messages")


def _latency_s(pool: Pool, output_tokens: Floats, queue_s: Floats | None) -> Floats:
    speed = pool.speeds_s
    latency: Floats = speed[:, 0] + speed[:, 1] * output_tokens
    return latency if queue_s is None else latency + queue_s


def _by_name(names: tuple[str, ...], row: Floats) -> dict[str, float]:
    return dict(zip(names, row.tolist(), strict=True))
