"""OpenAI's answer objects, for backends that have to write them themselves."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving.http.protocol import Endpoint
from serving.http.sse import DONE, event


@dataclass
class Usage:
    """Tokens of one request, over all its answers."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    def to_dict(self) -> dict[str, int]:
        """OpenAI's `usage` object."""
        total = self.prompt_tokens + self.completion_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": total,
        }


@dataclass(frozen=True)
class Writer:
    """Writes the objects of one answer: whole, or as a stream of chunks.

    Attributes
    ----------
    endpoint
        Decides between chat messages and plain text.
    model
        Name that the answer carries.
    """

    endpoint: Endpoint
    model: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def _chat(self) -> bool:
        return self.endpoint == "chat/completions"

    def whole(self, answers: Sequence[tuple[str, str]], usage: Usage) -> bytes:
        """The body of a non-streaming answer; `answers` are pairs of text and finish reason."""
        choices = [self._choice(index, text, reason) for index, (text, reason) in enumerate(answers)]
        return json.dumps(self._object(choices, "chat.completion") | {"usage": usage.to_dict()}).encode()

    def opening(self, index: int) -> bytes:
        """The event that opens a chat answer; nothing for completions."""
        return self._chunk(index, {"role": "assistant", "content": ""}, None) if self._chat else b""

    def piece(self, index: int, text: str) -> bytes:
        """One event with new text."""
        return self._chunk(index, {"content": text} if self._chat else text, None)

    def closing(self, index: int, reason: str) -> bytes:
        """The event that ends one answer."""
        return self._chunk(index, {} if self._chat else "", reason)

    def ending(self, usage: Usage | None) -> bytes:
        """The end of the stream, with a usage event if the client wants one."""
        if usage is None:
            return DONE
        return event(self._object([], "chat.completion.chunk") | {"usage": usage.to_dict()}) + DONE

    def _chunk(self, index: int, delta: Mapping[str, str] | str, reason: str | None) -> bytes:
        key = "delta" if self._chat else "text"
        choice = {"index": index, key: delta, "logprobs": None, "finish_reason": reason}
        return event(self._object([choice], "chat.completion.chunk"))

    def _choice(self, index: int, text: str, reason: str) -> dict[str, Any]:
        content: dict[str, Any] = {"text": text}
        if self._chat:
            content = {"message": {"role": "assistant", "content": text}}
        return {"index": index, **content, "logprobs": None, "finish_reason": reason}

    def _object(self, choices: Sequence[Mapping[str, Any]], chat_kind: str) -> dict[str, Any]:
        return {
            "id": ("chatcmpl-" if self._chat else "cmpl-") + self.id,
            "object": chat_kind if self._chat else "text_completion",
            "created": self.created,
            "model": self.model,
            "choices": list(choices),
        }
