"""What happened to one request, for whoever keeps count: metrics, the ledger, budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from router.decisions.decision import Decision
from serving.flow.sending.answer import Failure
from serving.http.protocol import Query

Finish = Literal["ok", "error", "aborted"]
"""How an exchange ended: answered whole; with an error; because the client left."""


@dataclass(frozen=True)
class TokenCount:
    """Tokens of one answer; `exact` if the backend reported them, otherwise counted from what was seen.

    `cached` are those of the input that the backend held from before.
    """

    input: int
    output: int
    exact: bool
    cached: int = 0

    @classmethod
    def from_usage(cls, usage: Any) -> TokenCount | None:
        """Read OpenAI's `usage` object; None if it is not one."""
        if not isinstance(usage, Mapping):
            return None
        read, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if not isinstance(read, int) or not isinstance(written, int):
            return None
        held = usage.get("prompt_tokens_details")
        cached = held.get("cached_tokens") if isinstance(held, Mapping) else None
        known = max(0, min(cached, read)) if isinstance(cached, int) else 0
        return cls(read, written, exact=True, cached=known)


@dataclass(frozen=True)
class Exchange:
    """One finished request.

    Attributes
    ----------
    endpoint
        Path below `/v1/`.
    request_id
        The `x-request-id`.
    decision
        The router's choice.
    candidate
        Who answered; None if nobody did.
    finish
        How it ended.
    tokens
        None if nothing was generated.
    cost_usd
        Price of those tokens at the pool's prices, and of the answers that a cascade threw away.
    first_byte_s, total_s
        Seconds from the request to the first byte and to the end.
    failures
        Candidates that were tried and failed.
    key_id
        Whose request it was; None where no keys are asked for.
    status
        The HTTP status that the client saw; 499 if it had left.
    """

    endpoint: str
    request_id: str
    decision: Decision
    candidate: str | None
    finish: Finish
    tokens: TokenCount | None
    cost_usd: float | None
    first_byte_s: float | None
    total_s: float
    failures: Sequence[Failure]
    key_id: str | None = None
    status: int = 200


class Observer(Protocol):
    """Told about decisions and exchanges; must be quick and must not raise."""

    def decided(self, decision: Decision, seconds: float, query: Query) -> None:
        """A decision was made for a query, in so many seconds."""
        ...

    def finished(self, exchange: Exchange) -> None:
        """A request is over."""
        ...
