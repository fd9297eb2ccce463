"""Chooses which candidate of a pool answers a query: probabilities and costs in, decisions out.

The names below are loaded on first use, so that ``import router`` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
