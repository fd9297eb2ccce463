"""Policies by the names that pool files and clients use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from probes.errors import UsageError
from router.configuration.settings import PolicySettings
from router.policies.cascade import Cascade
from router.policies.cheapest_likely import CheapestLikely
from router.policies.online.exploration import Explore
from router.policies.online.pacing import Pacing
from router.policies.quality_floor import QualityFloor
from router.policies.reference.fixed import Fixed
from router.policies.reference.random_mix import RandomMix
from router.policies.table import Policy
from router.policies.tolerance import Tolerance
from router.policies.utility import Utility

POLICIES: dict[str, type[Any]] = {
    policy.rule: policy
    for policy in (CheapestLikely, Tolerance, Utility, QualityFloor, Pacing, Cascade, Fixed, RandomMix)
}
"""Every rule that a deployment can use; the oracle is for evaluation only."""

DESCRIBED = frozenset({Fixed.rule, Pacing.rule, Cascade.rule})
"""Rules that mean nothing without an entry of the pool file."""


def policy_from(settings: PolicySettings, fitted: Mapping[str, Mapping[str, Any]] | None = None) -> Policy:
    """The policy that settings describe.

    Parameters
    ----------
    settings : PolicySettings
        A rule and the knobs that the operator has set.
    fitted : mapping of str to mapping, optional
        Fitted knobs of each rule; used where the settings leave them open.

    Raises
    ------
    UsageError
        A rule without a default for its knob has neither.
    """
    policy = POLICIES[settings.rule]
    knobs = {**_fitted_knobs(settings.rule, fitted or {}), **settings.knobs}
    for knob in fields(policy):
        if knob.name not in knobs and knob.default is MISSING:
            raise UsageError(
                f"The policy {settings.rule} needs {knob.name}.",
                param=f"policy.{knob.name}",
                hint="Set it in the pool file, or fit the router: `foresight fit` finds it.",
            )
    made: Policy = policy(**knobs)
    return Explore(made, settings.explore) if settings.explore else made


def _fitted_knobs(rule: str, fitted: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """What fitting found; a day's budget begins with what a right answer is worth to `Utility`."""
    value_usd = fitted.get(Utility.rule, {}).get("value_usd")
    if rule == Pacing.rule and value_usd:
        return {"first_usd_per_answer": value_usd}
    return fitted.get(rule, {})
