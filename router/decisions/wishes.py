"""What one request wants from the router, beyond what its answer needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import TypedDict

import numpy as np

from probes.errors import UsageError
from router.decisions.eligibility import Requirements
from router.policies import CandidateTable, CheapestLikely, Policy, Tolerance
from router.policies.table import Bools


class Options(TypedDict, total=False):
    """Keyword arguments that all the deciding methods of `Router` share; each may be left out or None."""

    policy: str | Policy | None
    """A policy, or the name of one; None is the pool's own."""
    quality: float | None
    """See `Wishes`."""
    min_success: float | None
    """See `Wishes`."""
    max_cost_usd: float | None
    """See `Wishes`."""
    requirements: Requirements | None
    """What the answer needs."""
    exclude: Iterable[str]
    """Candidates that must not answer, besides those of `requirements`."""
    queue_s: Mapping[str, float]
    """Seconds that a candidate's server is expected to let a query wait; those that are left out do not."""
    cached_tokens: Mapping[str, int]
    """Tokens of the prompt that a candidate's server holds from earlier turns; the others hold none."""


@dataclass(frozen=True)
class Wishes:
    """Preferences of one request.

    Attributes
    ----------
    policy : str or Policy, optional
        A policy, or the name of one; None is the pool's own.
    quality : float, optional
        One knob from cheapest (0) to most likely to succeed (1): the cheapest candidate within
        ``1 − quality`` of the highest success probability.
    min_success : float, optional
        Least success probability; for `CheapestLikely` (or no named policy) its knob, for any other policy a
        bar that candidates must pass if anybody passes it.
    max_cost_usd : float, optional
        Most expected cost of the answer.

    Raises
    ------
    UsageError
        A number is out of its range, or both `policy` and `quality` are given.
    """

    policy: str | Policy | None = None
    quality: float | None = None
    min_success: float | None = None
    max_cost_usd: float | None = None

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        for name, value, high in (
            ("quality", self.quality, 1.0),
            ("min_success", self.min_success, 1.0),
            ("max_cost_usd", self.max_cost_usd, inf),
        ):
            if value is not None and not 0.0 <= value <= high:
                span = "at least 0" if high == inf else "between 0 and 1"
                raise UsageError(f"{name} must be {span}, not {value}.", param=name)
        if self.quality is not None and self.policy is not None:
            raise UsageError("quality is a policy of its own; leave out policy.", param="quality")

    def chosen_policy(self, named: Callable[[str | None], Policy]) -> Policy:
        """The policy to use; `named` finds those given by name, and the default under None."""
        if self.quality is not None:
            return Tolerance(1.0 - self.quality)
        if self.min_success is not None and self.policy is None:
            return CheapestLikely(self.min_success)
        policy = named(self.policy) if self.policy is None or isinstance(self.policy, str) else self.policy
        if self.min_success is not None and isinstance(policy, CheapestLikely):
            return CheapestLikely(self.min_success)
        return policy

    def apply(self, table: CandidateTable, reasons: list[dict[str, str]]) -> CandidateTable:
        """Take candidates that the wishes rule out from the table, and add why to each query's `reasons`.

        Raises
        ------
        UsageError
            Nobody costs as little as `max_cost_usd`.
        """
        if self.max_cost_usd is not None:
            limit, cost_usd, cheap = self.max_cost_usd, table.cost_usd, table.cost_usd <= self.max_cost_usd
            _check_affordable(table, cheap, limit)
            table = _narrow(
                table,
                cheap,
                reasons,
                lambda i, k: f"expected cost ${cost_usd[i, k]:.3g} is above ${limit:.3g}",
            )
        if self.min_success is not None and self.policy is not None:
            bar, success, likely = self.min_success, table.success, table.success >= self.min_success
            likely |= ~(likely & table.eligible).any(axis=1, keepdims=True)
            table = _narrow(
                table, likely, reasons, lambda i, k: f"success {success[i, k]:.2f} is below {bar:.2f}"
            )
        return table


def parse_options(options: Options) -> tuple[Wishes, Requirements]:
    """Split keyword arguments into what the request wants and what its answer needs."""
    requirements = options.get("requirements") or Requirements()
    exclude = tuple(options.get("exclude") or ())
    if exclude:
        requirements = replace(requirements, exclude=(*requirements.exclude, *exclude))
    wishes = Wishes(
        options.get("policy"), options.get("quality"), options.get("min_success"), options.get("max_cost_usd")
    )
    return wishes, requirements


def _check_affordable(table: CandidateTable, cheap: Bools, limit: float) -> None:
    poor = ~(cheap & table.eligible).any(axis=1)
    if poor.any():
        i = int(poor.argmax())
        least = table.cost_usd[i][table.eligible[i]].min()
        raise UsageError(
            f"No candidate is expected to cost at most ${limit:.3g}; the cheapest costs ${least:.3g}.",
            param="max_cost_usd",
            hint="Raise max_cost_usd, shorten the prompt, or lower max_tokens.",
        )


def _narrow(
    table: CandidateTable, allowed: Bools, reasons: list[dict[str, str]], why: Callable[[int, int], str]
) -> CandidateTable:
    for i, k in np.argwhere(table.eligible & ~allowed):
        reasons[i][table.names[k]] = why(i, k)
    return table.restrict(allowed)
