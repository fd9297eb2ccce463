"""What is asked: a list of messages in OpenAI's shape, validated once at the door."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from probes.errors import UsageError

Message: TypeAlias = Mapping[str, Any]
Conversation: TypeAlias = Sequence[Message]
Tools: TypeAlias = Sequence[Mapping[str, Any]]

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})


def as_conversation(prompt: str | Conversation) -> Conversation:
    """Make a conversation of a prompt, or check one.

    Parameters
    ----------
    prompt
        Text (becomes one user message) or messages ``{"role": ..., "content": ...}``. Content is text, a list
        of typed parts, or, where an assistant only calls tools, None.

    Returns
    -------
    Conversation
        At least one message. Messages are passed on as they are, unknown fields included.

    Raises
    ------
    UsageError
        Names the field at fault, e.g. ``messages[0].role``.
    """
    if isinstance(prompt, str):
        if not prompt.strip():
            raise UsageError("The prompt is empty", param="prompt", hint="Give a question.")
        return ({"role": "user", "content": prompt},)
    if not isinstance(prompt, list | tuple):
        raise UsageError(
            f"messages must be a list, not {type(prompt).__name__}",
            param="messages",
            hint='Write messages as [{"role": "user", "content": "..."}].',
        )
    if not prompt:
        raise UsageError("messages is empty", param="messages", hint="Give at least one message.")
    for i, message in enumerate(prompt):
        _check_message(message, f"messages[{i}]")
    return prompt


def text_of(content: Any) -> str:
    """Plain text of a message's content; a part that is not text leaves its type in brackets.

    Text parts are joined by line breaks, as vLLM does for templates that expect a string.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] if "text" in part else f"[{part['type']}]" for part in content)


def _check_message(message: Any, where: str) -> None:
    if not isinstance(message, Mapping):
        raise UsageError(f"{where} must be an object, not {type(message).__name__}", param=where)
    role = message.get("role")
    if role not in ROLES:
        raise UsageError(
            f"{where}.role must be one of {', '.join(sorted(ROLES))}, not {role!r}", param=f"{where}.role"
        )
    content = message.get("content")
    if content is None:
        if role != "assistant" or not message.get("tool_calls"):
            raise UsageError(f"{where}.content is missing", param=f"{where}.content")
    elif not isinstance(content, str):
        _check_parts(content, f"{where}.content")


def _check_parts(parts: Any, where: str) -> None:
    if isinstance(parts, bytes | Mapping) or not isinstance(parts, Sequence):
        raise UsageError(f"{where} must be text or a list of parts, not {type(parts).__name__}", param=where)
    for i, part in enumerate(parts):
        if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
            raise UsageError(f"{where}[{i}] must be an object with a type", param=f"{where}[{i}]")
        if not isinstance(part.get("text", ""), str) or (part["type"] == "text" and "text" not in part):
            raise UsageError(f"{where}[{i}].text must be text", param=f"{where}[{i}].text")
