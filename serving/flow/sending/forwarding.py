"""From a client's request to a candidate's: `model` replaced, the candidate's decoding defaults merged in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving.http.protocol import Endpoint

TEMPLATE = "chat_template_kwargs"
_LIMITS = ("max_tokens", "max_completion_tokens")


def forwarded_body(
    body: Mapping[str, Any], model: str, decoding: Mapping[str, Any], endpoint: Endpoint
) -> dict[str, Any]:
    """The body that a backend is sent.

    Parameters
    ----------
    body
        The client's fields; each one that is set wins over the candidate's. OpenAI's `null` means not set.
    model
        The candidate's model name at its backend.
    decoding
        The candidate's defaults, as body fields.
    endpoint
        Completions have no chat template, so that its options are left out there.

    Examples
    --------
    >>> forwarded_body({"top_k": 5}, "qwen", {"temperature": 0.6, "top_k": 20}, "chat/completions")
    {'top_k': 5, 'model': 'qwen', 'temperature': 0.6}
    """
    merged = {**body, "model": model}
    own_limit = any(body.get(name) is not None for name in _LIMITS)
    for name, default in decoding.items():
        if default is None or (name in _LIMITS and own_limit):
            continue
        if name == TEMPLATE:
            if endpoint == "chat/completions":
                merged[name] = {**default, **(body.get(name) or {})}
        elif merged.get(name) is None:
            merged[name] = default
    return merged
