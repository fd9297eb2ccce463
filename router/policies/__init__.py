"""Policies: success probabilities, expected costs and constraints → who answers.

Every policy is a small frozen dataclass with ``choose(table) -> Choice``; the same code decides one query
online and a million in batch.
"""

from __future__ import annotations

from router.policies.bar import Bar, Verdict
from router.policies.budget import Budget
from router.policies.cascade import Cascade, Step
from router.policies.cheapest_likely import CheapestLikely
from router.policies.online.exploration import Explore
from router.policies.online.pacing import Pace, Paced, Pacing
from router.policies.quality_floor import QualityFloor
from router.policies.reference.fixed import Fixed
from router.policies.reference.oracle import Oracle
from router.policies.reference.random_mix import RandomMix
from router.policies.registry import POLICIES, policy_from
from router.policies.table import CandidateTable, Choice, Policy
from router.policies.tolerance import Tolerance
from router.policies.utility import Utility

__all__ = [
    "POLICIES",
    "Bar",
    "Budget",
    "CandidateTable",
    "Cascade",
    "CheapestLikely",
    "Choice",
    "Explore",
    "Fixed",
    "Oracle",
    "Pace",
    "Paced",
    "Pacing",
    "Policy",
    "QualityFloor",
    "RandomMix",
    "Step",
    "Tolerance",
    "Utility",
    "Verdict",
    "policy_from",
]
