"""What is put into the ledger, and how it becomes rows.

Entries are made on the hot path and are cheap; their rows are made by the thread that writes them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from router.configuration.pool import Candidate
from router.decisions.decision import Decision
from serving.flow.record import Exchange

NAMED = "named"
"""Policy of a decision that the client made by naming a candidate."""
_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
_PREDICTED = ("success", "expected_cost_usd", "expected_output_tokens", "ranking", "ineligible")


class Decided(NamedTuple):
    """A decision was made.

    Attributes
    ----------
    at_s
        Unix time.
    decision
        All of it.
    took_s
        How long it took, the scout's reading included.
    request_id, endpoint, key_id
        Of the request.
    router
        Which fit made the probabilities.
    prompt
        The prompt as JSON, where the operator asked for it.
    """

    at_s: float
    decision: Decision
    took_s: float
    request_id: str
    endpoint: str
    key_id: str | None
    router: str
    prompt: str | None = None

    def row(self) -> dict[str, Any]:
        """For the table `decisions`."""
        decision = self.decision
        predicted = {name: getattr(decision, name) for name in _PREDICTED}
        return {
            "id": decision.id,
            "decided_s": self.at_s,
            "took_s": self.took_s,
            "request_id": self.request_id,
            "endpoint": self.endpoint,
            "key_id": self.key_id,
            "router": self.router,
            "policy": decision.policy,
            "candidate": decision.candidate,
            "reason": plain_text(decision.reason),
            "propensity": getattr(decision, "propensity", None),
            "novelty": finite(decision.novelty),
            "novel": decision.novel,
            "scout_cost_usd": decision.scout_cost_usd,
            "input_tokens": decision.input_tokens,
            "predicted": encoded(predicted),
            "prompt": self.prompt,
        }


class Finished(NamedTuple):
    """A request is over.

    Attributes
    ----------
    at_s
        Unix time.
    exchange
        What became of it.
    reference
        The candidate that would always answer if nobody routed; what it would have cost is kept, too.
    """

    at_s: float
    exchange: Exchange
    reference: Candidate | None

    def row(self) -> dict[str, Any]:
        """For the table `exchanges`."""
        exchange, decision = self.exchange, self.exchange.decision
        tokens, answered_by = exchange.tokens, exchange.candidate or ""
        failures = [{"candidate": f.candidate, "kind": f.kind} for f in exchange.failures]
        return {
            "decision_id": decision.id,
            "ended_s": self.at_s,
            "minute": int(self.at_s // 60),
            "endpoint": exchange.endpoint,
            "key_id": exchange.key_id,
            "policy": decision.policy,
            "candidate": exchange.candidate,
            "finish": exchange.finish,
            "status": exchange.status,
            "input_tokens": None if tokens is None else tokens.input,
            "output_tokens": None if tokens is None else tokens.output,
            "tokens_exact": None if tokens is None else tokens.exact,
            "cost_usd": finite(exchange.cost_usd),
            "scout_cost_usd": decision.scout_cost_usd,
            "success": finite(decision.success.get(answered_by)),
            "expected_cost_usd": finite(decision.expected_cost_usd.get(answered_by)),
            **self._reference(),
            "novel": decision.novel,
            "first_byte_s": exchange.first_byte_s,
            "total_s": exchange.total_s,
            "failures": encoded(failures),
        }

    def _reference(self) -> dict[str, Any]:
        """What the reference would have cost; unknown where the client chose, or nothing was generated."""
        names = ("reference", "reference_expected_usd", "reference_actual_usd")
        exchange, reference = self.exchange, self.reference
        if reference is None or exchange.tokens is None or exchange.decision.policy == NAMED:
            return dict.fromkeys(names)
        price, tokens = reference.price, exchange.tokens
        actual_usd = (tokens.input * price.usd_per_mtok_in + tokens.output * price.usd_per_mtok_out) / 1e6
        expected_usd = finite(exchange.decision.expected_cost_usd.get(reference.name))
        if exchange.candidate == reference.name:
            expected_usd = actual_usd  # no guess where it is known
        return dict(zip(names, (reference.name, expected_usd, actual_usd), strict=True))


@dataclass(frozen=True, eq=False)
class Rated:
    """Somebody says how good an answer was.

    Attributes
    ----------
    at_s
        Unix time.
    decision_id
        Whose answer.
    correct
        In [0, 1].
    comment
        Free text.
    key_id
        Who says so; only the key that asked may rate.
    done
        Becomes True once it is on disk, False if there is no such decision of this key.
    """

    at_s: float
    decision_id: str
    correct: float
    comment: str | None
    key_id: str | None
    done: Future[bool]

    def row(self) -> dict[str, Any]:
        """For the table `feedback`."""
        comment = None if self.comment is None else plain_text(self.comment)
        return {
            "decision_id": self.decision_id,
            "given_s": self.at_s,
            "correct": self.correct,
            "comment": comment,
        }


Entry: TypeAlias = Decided | Finished | Rated


def encoded(value: Any) -> str:
    """ASCII JSON that every database takes; numbers that are not finite become null."""
    try:
        return _ENCODER.encode(value)
    except ValueError:
        return _ENCODER.encode(_finite_within(value))


def plain_text(text: str) -> str:
    """Text that every database takes: no NUL, no unpaired surrogate."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def finite(value: float | None) -> float | None:
    """The number, or None where it is none."""
    return value if value is not None and math.isfinite(value) else None


def _finite_within(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite_within(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite_within(item) for item in value]
    return finite(value) if isinstance(value, float) else value
