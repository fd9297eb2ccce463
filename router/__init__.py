"""Chooses which candidate of a pool answers a query: probabilities and costs in, decisions out.

The names below are loaded on first use, so that ``import router`` stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from probes.lazy import lazy_names

if TYPE_CHECKING:
    from router.configuration.pool import Pool
    from router.decisions.decision import Decision
    from router.decisions.eligibility import Requirements
    from router.router import Router

__all__ = ["Decision", "Pool", "Requirements", "Router"]

_HOME = {
    "Decision": "router.decisions.decision",
    "Pool": "router.configuration.pool",
    "Requirements": "router.decisions.eligibility",
    "Router": "router.router",
}

__getattr__, __dir__ = lazy_names(__name__, _HOME)
