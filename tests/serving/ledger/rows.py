"""Decisions and exchanges to be written down."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from router.configuration.pool import Candidate, Pool
from router.decisions.decision import Decision
from serving.flow.record import Exchange, TokenCount
from serving.flow.sending.answer import Failure
from serving.http.protocol import Preferences, Query
from serving.ledger.entries import Decided, Finished, Rated
from tests.serving.routing import pool_of

NOW_S = 1_700_000_000.0
POOL: Pool = pool_of(
    {"b": {"kind": "openai", "url": "http://127.0.0.1:9/v1"}},
    {"small": {"backend": "b"}, "large": {"backend": "b"}},
)
LARGE: Candidate = POOL["large"]


def decision(candidate: str = "small", chance: float = 0.9, **more: Any) -> Decision:
    fields: dict[str, Any] = {
        "candidate": candidate,
        "reason": "cheapest of 2 with success ≥ 0.80 (0.90)",
        "policy": "cheapest-likely",
        "success": {"small": chance, "large": 0.95},
        "expected_cost_usd": {"small": 1e-5, "large": 4e-4},
        "expected_output_tokens": {"small": 8.0, "large": 9.0},
        "ranking": ("small", "large"),
        "novelty": 1.0,
        "scout_cost_usd": 1e-7,
        "input_tokens": 12,
    }
    return Decision(**{**fields, **more})


def exchange(chosen: Decision, **more: Any) -> Exchange:
    fields: dict[str, Any] = {
        "endpoint": "chat/completions",
        "request_id": "req_1",
        "decision": chosen,
        "candidate": chosen.candidate,
        "finish": "ok",
        "tokens": TokenCount(12, 10, exact=True),
        "cost_usd": 3.2e-5,
        "first_byte_s": 0.1,
        "total_s": 0.3,
        "failures": (),
    }
    return Exchange(**{**fields, **more})


def decided(chosen: Decision, at_s: float = NOW_S, key_id: str | None = None, **more: Any) -> Decided:
    fields: dict[str, Any] = {
        "took_s": 0.002,
        "request_id": "req_1",
        "endpoint": "chat/completions",
        "router": "fit-1",
        "prompt": None,
    }
    return Decided(at_s=at_s, decision=chosen, key_id=key_id, **{**fields, **more})


def finished(found: Exchange, at_s: float = NOW_S, reference: Candidate | None = LARGE) -> Finished:
    return Finished(at_s, found, reference)


def rated(
    decision_id: str, correct: float = 1.0, key_id: str | None = None, at_s: float = NOW_S, **more: Any
) -> Rated:
    return Rated(at_s, decision_id, correct, more.get("comment"), key_id, Future())


def query(**more: Any) -> Query:
    messages = [{"role": "user", "content": "hi"}]
    fields: dict[str, Any] = {"body": {"messages": messages}, "preferences": Preferences()}
    return Query("chat/completions", "auto", request_id="req_1", **{**fields, **more})


def failures(*kinds: str) -> Sequence[Failure]:
    return [Failure("small", "b", kind) for kind in kinds]  # type: ignore[arg-type]
