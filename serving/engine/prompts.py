"""Whose prompt is the scout's, token for token.

The scout reads the conversation through the template with the scout's own options. A candidate of the same
model reads the same tokens if it is asked with the same messages, tools and template options, and with no
field that could change what the template renders. Of a body with any field that is not known to be harmless
in this respect, the answer is no: the scout then reads by a request of its own, and the candidate is asked
afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from probes.encoders.conversation import Conversation, Tools
from serving.flow.sending.forwarding import TEMPLATE

HARMLESS = frozenset(
    {
        "model", "messages", "tools", "stream", "stream_options", "n", "user", "metadata", "store",
        "priority", "max_tokens", "max_completion_tokens", "min_tokens", "stop", "stop_token_ids",
        "ignore_eos", "seed", "include_stop_str_in_output", "temperature", "top_p", "top_k", "min_p",
        "presence_penalty", "frequency_penalty", "repetition_penalty", "length_penalty", "logit_bias",
        "logprobs", "top_logprobs", "prompt_logprobs", "response_format", "structured_outputs",
        "parallel_tool_calls", "bad_words", "skip_special_tokens", "spaces_between_special_tokens",
        "return_token_ids", "safety_identifier", "return_tokens_as_token_ids", "service_tier",
        "prompt_cache_key",
    }
)  # fmt: skip
"""Fields of a chat request that decide how an answer is drawn, not which prompt it answers."""


def reads_the_same(body: Mapping[str, Any], template_kwargs: Mapping[str, Any]) -> bool:
    """Whether a chat body renders to what the scout reads.

    Parameters
    ----------
    body
        As it would be sent to the scout's own model.
    template_kwargs
        The scout's options of the template.

    Examples
    --------
    >>> reads_the_same({"messages": [], "temperature": 0}, {})
    True
    >>> reads_the_same({"messages": [], "chat_template_kwargs": {"enable_thinking": True}}, {})
    False
    """
    given = {name for name, value in body.items() if value is not None}
    if not given - {TEMPLATE, "tool_choice"} <= HARMLESS or body.get("tool_choice") == "none":
        return False
    if not all(_is_plain(message) for message in body["messages"]):
        return False
    return dict(body.get(TEMPLATE) or {}) == dict(template_kwargs)


def _is_plain(message: Mapping[str, Any]) -> bool:
    """Parts, names and calls of tools may be shown by one side and not by the other."""
    return set(message) <= {"role", "content"} and isinstance(message.get("content"), str)


def scouting_body(
    model: str, conversation: Conversation, tools: Tools | None, template_kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """A chat request that computes the scout's prompt and next to nothing else."""
    body: dict[str, Any] = {
        "model": model,
        "messages": list(conversation),
        "max_tokens": 1,
        "temperature": 0,
        TEMPLATE: dict(template_kwargs),
    }
    if tools:
        body |= {"tools": list(tools), "tool_choice": "none"}  # shown to the model, and never parsed
    return body
