"""The output items of a response while they are written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from serving.responses_api import answer


class Item(ABC):
    """One item.

    Parameters
    ----------
    index
        Its place in the response's output.

    Attributes
    ----------
    name
        Of its events, without `response.` and `.delta`.
    text
        What was written so far.
    """

    name: str
    prefix: str

    def __init__(self, index: int) -> None:
        self.index = index
        self.id = answer.new_id(self.prefix)
        self.text = ""
        self.logprobs: list[Any] = []

    @abstractmethod
    def place(self) -> dict[str, Any]:
        """Fields that say where an event belongs."""

    @abstractmethod
    def begun(self) -> dict[str, Any]:
        """The item before anything was written."""

    @abstractmethod
    def done(self) -> dict[str, Any]:
        """The item at its end."""

    @abstractmethod
    def part(self, text: str) -> dict[str, Any] | None:
        """Its content part; None for an item without parts."""

    @abstractmethod
    def summary(self) -> dict[str, Any]:
        """What the event at the end of the text repeats."""


class Text(Item):
    """An assistant's message."""

    name, prefix = "output_text", "msg"

    def place(self) -> dict[str, Any]:
        """Within its only part."""
        return {"item_id": self.id, "output_index": self.index, "content_index": 0}

    def begun(self) -> dict[str, Any]:
        """A message without parts."""
        return answer.message_item("", self.id, "in_progress")

    def done(self) -> dict[str, Any]:
        """The message."""
        return answer.message_item(self.text, self.id, logprobs=self.logprobs)

    def part(self, text: str) -> dict[str, Any] | None:
        """Its text."""
        return answer.text_part(text, self.logprobs)

    def summary(self) -> dict[str, Any]:
        """The whole text."""
        return {"text": self.text, "logprobs": self.logprobs}


class Thought(Item):
    """A model's reasoning."""

    name, prefix = "reasoning_text", "rs"

    def place(self) -> dict[str, Any]:
        """Within its only part."""
        return {"item_id": self.id, "output_index": self.index, "content_index": 0}

    def begun(self) -> dict[str, Any]:
        """Reasoning without parts."""
        return answer.reasoning_item("", self.id) | {"content": []}

    def done(self) -> dict[str, Any]:
        """The reasoning."""
        return answer.reasoning_item(self.text, self.id)

    def part(self, text: str) -> dict[str, Any] | None:
        """Its text."""
        return {"type": "reasoning_text", "text": text}

    def summary(self) -> dict[str, Any]:
        """The whole text."""
        return {"text": self.text}


class Call(Item):
    """A call of a function.

    Parameters
    ----------
    index
        As for every item.
    key
        Number of the call in the chat completion.
    call_id, function
        What the model calls, and how the result will name it.
    """

    name, prefix = "function_call_arguments", "fc"

    def __init__(self, index: int, key: Any, call_id: Any, function: Any) -> None:
        super().__init__(index)
        self.key = key
        self.call_id = str(call_id or answer.new_id("call"))
        self.function = str(function or "")

    def place(self) -> dict[str, Any]:
        """Calls have no parts."""
        return {"item_id": self.id, "output_index": self.index}

    def begun(self) -> dict[str, Any]:
        """The call without arguments."""
        return answer.call_item(self.call_id, self.function, "", self.id, "in_progress")

    def done(self) -> dict[str, Any]:
        """The call."""
        return answer.call_item(self.call_id, self.function, self.text, self.id)

    def part(self, text: str) -> dict[str, Any] | None:
        """None."""
        return None

    def summary(self) -> dict[str, Any]:
        """The arguments, and the function's name."""
        return {"arguments": self.text, "name": self.function}
