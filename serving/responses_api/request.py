"""From the body of `POST /v1/responses` to a chat completion's.

Nothing is stored here, so that a conversation is continued by sending its items again; what would need a
store, or a tool of OpenAI's own, is refused by name. Fields that nobody here knows are forwarded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from serving.http.errors import ApiError, invalid_request
from serving.http.protocol import Preferences, Query, Tokens, json_object, validated

STORED = ("previous_response_id", "conversation", "background", "prompt")
"""Fields that only work where answers are kept."""
_OWN = frozenset(
    {"input", "instructions", "max_output_tokens", "text", "reasoning", "tools", "tool_choice", "include"}
    | {"store", "truncation", "foresight", "stream_options", "metadata", *STORED}
)


class ResponseRequest(BaseModel):
    """`POST /v1/responses`: https://platform.openai.com/docs/api-reference/responses/create."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model: str = Field(min_length=1, max_length=256)
    input: str | list[dict[str, Any]] = Field(min_length=1)
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: Tokens | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    include: list[str] | None = None
    foresight: Preferences | None = None


@dataclass(frozen=True)
class ResponseQuery:
    """A checked request.

    Attributes
    ----------
    query
        The chat completion that answers it.
    body
        The client's own body, parts of which the answer repeats.
    """

    query: Query
    body: Mapping[str, Any]


def parse_response(raw: bytes, request_id: str) -> ResponseQuery:
    """Check a body and translate it; raises `ApiError` (400) that names the field."""
    body = json_object(raw)
    request = validated(ResponseRequest, body)
    for name in STORED:
        if body.get(name):
            message = f"`{name}` is not supported: no answers are stored here. Send the whole conversation."
            raise invalid_request(message, name, "unsupported_parameter")
    chat = chat_body(body)
    query = Query("chat/completions", request.model, chat, request.foresight or Preferences(), request_id)
    return ResponseQuery(query, body)


def in_own_words(error: ApiError) -> ApiError:
    """A complaint about the chat completion as one about the client's fields."""
    if error.param is not None and error.param.startswith("messages"):
        error.param = "input"
    return error


def chat_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The chat completion's body (checked by `ResponseRequest`)."""
    chat = {name: value for name, value in body.items() if name not in _OWN}
    chat["messages"] = messages_of(body["input"], body.get("instructions"))
    if body.get("max_output_tokens") is not None:
        chat["max_completion_tokens"] = body["max_output_tokens"]
    if body.get("tools"):
        chat["tools"] = [_tool(tool, i) for i, tool in enumerate(body["tools"])]
    if (choice := body.get("tool_choice")) is not None:
        named = isinstance(choice, dict) and choice.get("type") == "function"
        chat["tool_choice"] = _function_named(choice) if named else choice
    if form := (body.get("text") or {}).get("format"):
        chat["response_format"] = _format(form)
    if effort := (body.get("reasoning") or {}).get("effort"):
        chat["reasoning_effort"] = effort
    if "message.output_text.logprobs" in (body.get("include") or ()):
        chat["logprobs"] = True
    if body.get("stream"):
        chat["stream_options"] = {"include_usage": True}
    return chat


def messages_of(items: str | Sequence[Mapping[str, Any]], instructions: str | None) -> list[dict[str, Any]]:
    """The conversation as chat messages."""
    messages: list[dict[str, Any]] = []
    if instructions:
        messages.append({"role": "system", "content": instructions})
    if isinstance(items, str):
        return [*messages, {"role": "user", "content": items}]
    for i, item in enumerate(items):
        kind = item.get("type", "message")
        if kind not in _ITEMS:
            message = f"Items of type {str(kind)[:40]!r} are not supported."
            raise invalid_request(message, f"input[{i}].type", "unsupported_value")
        _ITEMS[kind](messages, item, i)
    return messages


def _message(messages: list[dict[str, Any]], item: Mapping[str, Any], i: int) -> None:
    role, content = item.get("role"), item.get("content")
    if not isinstance(role, str):
        raise invalid_request(f"`input[{i}].role` is missing.", f"input[{i}].role")
    if isinstance(content, list):
        parts = [_part(part, f"input[{i}].content[{j}]") for j, part in enumerate(content)]
        texts = [part["text"] for part in parts if part["type"] == "text"]
        content = "".join(texts) if len(texts) == len(parts) else parts
    messages.append({"role": "system" if role == "developer" else role, "content": content})


def _call(messages: list[dict[str, Any]], item: Mapping[str, Any], i: int) -> None:
    name, arguments, call_id = (item.get(key) for key in ("name", "arguments", "call_id"))
    if not (isinstance(name, str) and isinstance(arguments, str) and isinstance(call_id, str)):
        message = f"`input[{i}]` needs call_id, name and arguments, all of them strings."
        raise invalid_request(message, f"input[{i}]")
    call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
    if messages and messages[-1].get("tool_calls"):
        messages[-1]["tool_calls"].append(call)
    elif messages and messages[-1]["role"] == "assistant":
        messages[-1]["tool_calls"] = [call]
    else:
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})


def _output(messages: list[dict[str, Any]], item: Mapping[str, Any], i: int) -> None:
    output = item.get("output")
    if isinstance(output, list):
        output = [_part(part, f"input[{i}].output[{j}]") for j, part in enumerate(output)]
    messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": output})


def _thought(messages: list[dict[str, Any]], item: Mapping[str, Any], i: int) -> None:
    """Earlier reasoning is not repeated to a model."""


_ITEMS: Mapping[str, Callable[[list[dict[str, Any]], Mapping[str, Any], int], None]] = {
    "message": _message,
    "function_call": _call,
    "function_call_output": _output,
    "reasoning": _thought,
}


def _part(part: Any, param: str) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in ("input_text", "output_text", "text") and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if kind == "refusal" and isinstance(part.get("refusal"), str):
        return {"type": "text", "text": part["refusal"]}
    if kind == "input_image" and isinstance(part.get("image_url"), str):
        detail = {"detail": part["detail"]} if part.get("detail") else {}
        return {"type": "image_url", "image_url": {"url": part["image_url"], **detail}}
    message = "Parts may be input_text, output_text and input_image with its image_url."
    raise invalid_request(message, param, "unsupported_value")


def _tool(tool: Mapping[str, Any], i: int) -> dict[str, Any]:
    if tool.get("type") != "function" or not isinstance(tool.get("name"), str):
        message = "Only tools of type function are supported, each with a name."
        raise invalid_request(message, f"tools[{i}].type", "unsupported_value")
    kept = ("name", "description", "parameters", "strict")
    return {"type": "function", "function": {key: tool[key] for key in kept if tool.get(key) is not None}}


def _function_named(choice: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": choice.get("name")}}


def _format(form: Any) -> Any:
    if isinstance(form, dict) and form.get("type") == "json_schema":
        schema = {key: value for key, value in form.items() if key != "type"}
        return {"type": "json_schema", "json_schema": schema}
    return form
