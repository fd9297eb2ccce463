"""How sure an answer is of itself: the mean probability of its tokens, read from their log-probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from serving.http.protocol import Endpoint, Query

ASK: Mapping[Endpoint, Mapping[str, Any]] = {
    "chat/completions": {"logprobs": True},
    "completions": {"logprobs": 0},
}
"""Fields of a request that make a backend tell the log-probability of each token that it generates."""


def told_anyway(query: Query) -> bool:
    """Whether the client has asked for log-probabilities itself (completions do so with 0, too)."""
    asked = query.body.get("logprobs")
    return asked is not None and asked is not False


def wondering(query: Query) -> Query:
    """A client's request that also asks for log-probabilities."""
    if told_anyway(query):
        return query
    return replace(query, body={**query.body, **ASK[query.endpoint]})


def confidence_of(payloads: Iterable[Mapping[str, Any]]) -> float | None:
    """Geometric mean of the probabilities of an answer's tokens, in (0, 1]; None where they are not told.

    Of several answers (n > 1), the least sure one counts.

    Parameters
    ----------
    payloads
        The answer's one object, or the chunks of its stream.
    """
    tokens: dict[int, list[float]] = {}
    for payload in payloads:
        for choice in _objects(payload.get("choices")):
            tokens.setdefault(_index(choice), []).extend(_log_probabilities(choice.get("logprobs")))
    if not tokens or not all(tokens.values()):
        return None
    return min(math.exp(min(0.0, sum(logs) / len(logs))) for logs in tokens.values())


def as_asked_for(query: Query, payload: Mapping[str, Any]) -> dict[str, Any]:
    """A payload as its client expects it: without log-probabilities, unless they were asked for."""
    return dict(payload) if told_anyway(query) else _without(payload)


def _without(payload: Mapping[str, Any]) -> dict[str, Any]:
    choices = payload.get("choices")
    if not isinstance(choices, list):
        return dict(payload)
    bare = [
        {name: value for name, value in choice.items() if name != "logprobs"}
        if isinstance(choice, dict)
        else choice
        for choice in choices
    ]
    return {**payload, "choices": bare}


def _log_probabilities(told: Any) -> list[float]:
    """Of chat completions (`content`) and of completions (`token_logprobs`)."""
    if not isinstance(told, Mapping):
        return []
    values = [token.get("logprob") for token in _objects(told.get("content"))]
    plain = told.get("token_logprobs")
    values += plain if isinstance(plain, list) else []
    return [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _index(choice: Mapping[str, Any]) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else 0
