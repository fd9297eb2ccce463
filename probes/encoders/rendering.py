"""From messages to the token ids that a scout reads: its chat template, once, and never without the end."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from probes.encoders.conversation import Conversation, Message, Tools, text_of
from probes.errors import MissingExtraError, UsageError

PLAIN = "plain-1"
"""Name of the rendering for tokenizers without a chat template; changes when that rendering does."""


class Renderer:
    """Renders conversations as a serving engine does.

    Parameters
    ----------
    tokenizer
        Of transformers.
    template_kwargs
        Arguments for the chat template, e.g. ``{"enable_thinking": False}``.
    max_tokens
        Longest prompt; None for no limit. Of a longer one the beginning is dropped, but for a leading BOS or
        CLS token (attention sinks live there): what is probed stands at the end.

    Notes
    -----
    With a chat template, the rendered text brings its own special tokens and none are added, so that
    BOS is never doubled; the generation prompt is part of it. Text parts of a message are joined by
    line breaks and tool calls' arguments are parsed, as vLLM does.

    Without one (sentence encoders): a single user message is its text alone, as such models were
    trained; else one line ``role: text`` per message, and tools as JSON in a first line ``tools: ...``;
    the tokenizer adds its special tokens.
    """

    def __init__(
        self,
        tokenizer: Any,
        template_kwargs: Mapping[str, Any] | None = None,
        *,
        max_tokens: int | None = None,
    ) -> None:
        if max_tokens is not None and max_tokens < 2:
            raise UsageError(f"max_tokens must be at least 2, not {max_tokens}", param="max_tokens")
        self.tokenizer = tokenizer
        self.template_kwargs = dict(template_kwargs or {})
        self.max_tokens = max_tokens

    @property
    def template_hash(self) -> str:
        """sha256 of the template (or the name of the plain rendering) and its arguments, hexadecimal."""
        template = self.tokenizer.chat_template or PLAIN
        return hashlib.sha256(
            json.dumps([template, self.template_kwargs], sort_keys=True).encode()
        ).hexdigest()

    def render(self, conversation: Conversation, tools: Tools | None = None) -> list[int]:
        """Token ids of a whole prompt, generation prompt included, uncut.

        Raises
        ------
        UsageError
            If the template refuses the conversation, or nothing is left to read.
        """
        text = self.text(conversation, tools)
        special = not self.tokenizer.chat_template
        ids: list[int] = self.tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]
        if not ids:
            raise UsageError("The prompt renders to no tokens", param="messages")
        return ids

    def render_all(self, conversations: Iterable[Conversation]) -> list[list[int]]:
        """As `render` each; tokenised together, which takes less time."""
        texts = [self.text(conversation) for conversation in conversations]
        special = not self.tokenizer.chat_template
        many = self.tokenizer(texts, add_special_tokens=special, verbose=False)["input_ids"] if texts else []
        if not all(many):
            raise UsageError("A prompt renders to no tokens", param="messages")
        return list(many)

    def cut(self, ids: list[int]) -> list[int]:
        """The last `max_tokens` of a prompt, behind its BOS or CLS token if it has one."""
        if self.max_tokens is None or len(ids) <= self.max_tokens:
            return ids
        sinks = {self.tokenizer.bos_token_id, self.tokenizer.cls_token_id} - {None}
        head = ids[:1] if ids[0] in sinks else []
        return head + ids[len(ids) - self.max_tokens + len(head) :]

    def text(self, conversation: Conversation, tools: Tools | None = None) -> str:
        """The rendered prompt as text."""
        if not self.tokenizer.chat_template:
            return _plain_text(conversation, tools)
        try:
            from jinja2 import TemplateError
        except ImportError as exc:  # transformers needs it for every template
            raise MissingExtraError(
                "Chat templates need jinja2", hint='Run: pip install "foresight-router[scout]"'
            ) from exc
        messages = [_for_template(message) for message in conversation]
        try:
            rendered: str = self.tokenizer.apply_chat_template(
                messages,
                tools=[dict(tool) for tool in tools] if tools else None,
                tokenize=False,
                add_generation_prompt=True,
                **self.template_kwargs,
            )
        except (TemplateError, TypeError, KeyError) as exc:
            raise UsageError(
                f"The scout's chat template refuses the conversation: {exc}", param="messages"
            ) from exc
        return rendered


def _for_template(message: Message) -> dict[str, Any]:
    """A message with text content and parsed tool arguments, which is what templates expect."""
    ready = {**message, "content": text_of(message.get("content"))}
    if message.get("tool_calls"):
        ready["tool_calls"] = [_parsed_call(call) for call in message["tool_calls"]]
    return ready


def _parsed_call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = dict(call.get("function") or {})
    if isinstance(function.get("arguments"), str):
        with suppress(json.JSONDecodeError):  # a model may have written broken JSON: it is shown as it is
            function["arguments"] = json.loads(function["arguments"] or "{}")
    return {**call, "function": function}


def _plain_text(conversation: Conversation, tools: Tools | None) -> str:
    lines = [f"tools: {json.dumps([dict(tool) for tool in tools])}"] if tools else []
    if len(conversation) == 1 and conversation[0]["role"] == "user" and not tools:
        return text_of(conversation[0].get("content"))
    lines += [f"{message['role']}: {text_of(message.get('content'))}" for message in conversation]
    return "\n".join(lines)
