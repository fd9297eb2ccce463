"""Which fit a router is: probabilities of one are not those of another."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from router.router import Router


def version_of(router: Router) -> str:
    """A short name of all that fitting and recalibrating found out; the same before saving and after loading.

    Prices, policies and backends are not part of it: they leave the probabilities as they are.
    """
    told = [router.identity.model, router.identity.revision, router.fitted.to_dict(), router.record]
    text = json.dumps(told, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
