"""What a client may write into `model`: `auto`, `auto:RULE`, or a candidate's name."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from router.configuration.pool import Candidate, Pool
from serving.http.errors import model_not_found

AUTO = "auto"


@dataclass(frozen=True)
class Target:
    """What a model name stands for: one candidate, or the router with a policy (None: the pool's own)."""

    candidate: Candidate | None = None
    policy: str | None = None


class ModelNames:
    """The names of one pool.

    Parameters
    ----------
    pool
        The candidates.
    policies
        Names that may follow `auto:`.
    """

    def __init__(self, pool: Pool, policies: Iterable[str]) -> None:
        self.candidates: Mapping[str, Candidate] = {
            candidate.name: candidate for candidate in pool.candidates
        }
        self._targets = {name: Target(candidate=candidate) for name, candidate in self.candidates.items()}
        self._targets[AUTO] = Target()
        self._targets |= {f"{AUTO}:{policy}": Target(policy=policy) for policy in policies}
        self._created = int(time.time())

    def resolve(self, name: str) -> Target:
        """What a name stands for; raises `ApiError` 404 `model_not_found`."""
        target = self._targets.get(name)
        if target is None:
            raise model_not_found(name)
        return target

    def listed(self) -> list[str]:
        """All names, the router's own first."""
        routed = [name for name, target in self._targets.items() if target.candidate is None]
        return [*routed, *self.candidates]

    def listing(self) -> dict[str, Any]:
        """The answer of `GET /v1/models`."""
        return {"object": "list", "data": [self.card(name) for name in self.listed()]}

    def card(self, name: str) -> dict[str, Any]:
        """The answer of `GET /v1/models/{name}`."""
        candidate = self.resolve(name).candidate
        card: dict[str, Any] = {
            "id": name,
            "object": "model",
            "created": self._created,
            "owned_by": "foresight",
        }
        if candidate is not None:
            card |= {"root": candidate.model, "max_model_len": candidate.context_tokens}
        return card
