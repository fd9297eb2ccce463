"""From a chat completion to the object of the Responses API."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

_REPEATED: Mapping[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None},
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "user": None,
}
"""Fields of the request that the answer repeats, and what they are where it does not say."""
_WHY_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def new_id(prefix: str) -> str:
    """An identifier such as `resp_…`."""
    return f"{prefix}_{uuid.uuid4().hex}"


def response_object(body: Mapping[str, Any], model: str, id: str | None = None) -> dict[str, Any]:
    """A response that has just begun; `body` is the client's request."""
    repeated = {name: body.get(name) or default for name, default in _REPEATED.items()}
    return {
        "id": id or new_id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "previous_response_id": None,
        "store": False,
        "truncation": "disabled",
        "usage": None,
        **repeated,
    }


def finished(response: dict[str, Any], reason: str | None, usage: Any) -> dict[str, Any]:
    """The response at its end; `reason` is the chat completion's finish reason."""
    why = _WHY_INCOMPLETE.get(reason or "")
    return response | {
        "status": "completed" if why is None else "incomplete",
        "incomplete_details": None if why is None else {"reason": why},
        "usage": usage_of(usage),
    }


def whole(chat: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a request that does not stream."""
    choice = (chat.get("choices") or [{}])[0]
    response = response_object(body, str(chat.get("model", "")))
    response["output"] = items_of(choice.get("message") or {}, choice.get("logprobs"))
    response = finished(response, choice.get("finish_reason"), chat.get("usage"))
    return response | ({"foresight": chat["foresight"]} if "foresight" in chat else {})


def items_of(message: Mapping[str, Any], logprobs: Any = None) -> list[dict[str, Any]]:
    """Output items of a chat message: reasoning, text, calls of functions."""
    items: list[dict[str, Any]] = []
    if thought := reasoning_in(message):
        items.append(reasoning_item(thought))
    if message.get("content") is not None or not message.get("tool_calls"):
        items.append(message_item(str(message.get("content") or ""), logprobs=logprobs_of(logprobs)))
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        items.append(
            call_item(str(call.get("id")), str(function.get("name")), str(function.get("arguments")))
        )
    return items


def reasoning_in(message: Mapping[str, Any]) -> str | None:
    """What a server calls the model's reasoning (vLLM has had two names for it)."""
    return message.get("reasoning") or message.get("reasoning_content")


def message_item(
    text: str, id: str | None = None, status: str = "completed", logprobs: list[Any] | None = None
) -> dict[str, Any]:
    """An item with text; one that has only begun has no part yet."""
    content = [text_part(text, logprobs)] if status == "completed" else []
    shared = {"id": id or new_id("msg"), "type": "message", "status": status, "role": "assistant"}
    return {**shared, "content": content}


def text_part(text: str, logprobs: list[Any] | None = None) -> dict[str, Any]:
    """A part of a message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs or []}


def reasoning_item(text: str, id: str | None = None) -> dict[str, Any]:
    """An item with the model's reasoning."""
    content = [{"type": "reasoning_text", "text": text}]
    return {"id": id or new_id("rs"), "type": "reasoning", "summary": [], "content": content}


def call_item(
    call_id: str, name: str, arguments: str, id: str | None = None, status: str = "completed"
) -> dict[str, Any]:
    """An item that calls a function."""
    shared = {"id": id or new_id("fc"), "type": "function_call", "status": status}
    return {**shared, "call_id": call_id, "name": name, "arguments": arguments}


def logprobs_of(logprobs: Any) -> list[Any]:
    """The token probabilities of a chat choice."""
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    return content if isinstance(content, list) else []


def usage_of(usage: Any) -> dict[str, Any] | None:
    """The tokens of a chat completion in the names of the Responses API."""
    if not isinstance(usage, Mapping):
        return None
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    thought = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return {
        "input_tokens": usage.get("prompt_tokens", 0),
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": usage.get("completion_tokens", 0),
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": usage.get("total_tokens", 0),
    }
