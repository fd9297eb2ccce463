"""Policies: success probabilities, expected costs and constraints → who answers.

Every policy is a small frozen dataclass with ``choose(table) -> Choice``; the same code decides one query
online and a million in batch.
"""

from __future__ import annotations

from router.policies.budget import Budget
from router.policies.cheapest_likely import CheapestLikely
from router.policies.exploration import Explore
from router.policies.fixed import Fixed
from router.policies.oracle import Oracle
from router.policies.pacing import Pace, Pacing
from router.policies.quality_floor import QualityFloor
from router.policies.random_mix import RandomMix
from router.policies.registry import POLICIES, policy_from
from router.policies.table import CandidateTable, Choice, Policy
from router.policies.tolerance import Tolerance
from router.policies.utility import Utility

__all__ = [
    "POLICIES",
    "Budget",
    "CandidateTable",
    "CheapestLikely",
    "Choice",
    "Explore",
    "Fixed",
    "Oracle",
    "Pace",
    "Pacing",
    "Policy",
    "QualityFloor",
    "RandomMix",
    "Tolerance",
    "Utility",
    "policy_from",
]
