"""From token ids to text, one token at a time: decoding options, incremental text, stop strings.

Pure Python: the model behind it only has to name the next token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from serving.http.errors import invalid_request

FinishReason = Literal["stop", "length"]

REFUSED: Mapping[str, str] = {
    "logprobs": "logprobs",
    "response_format": "JSON output",
    "logit_bias": "logit_bias",
    "best_of": "best_of",
    "echo": "echo",
    "suffix": "suffix",
}
"""Fields that would change the answer and that the local backend cannot honour: refused, never ignored."""

SEEDS = (-(1 << 63), (1 << 63) - 1)
"""Range of seeds."""


@dataclass(frozen=True)
class Decoding:
    """How one answer is drawn.

    Attributes
    ----------
    max_tokens
        Most tokens to generate; None fills the context window.
    temperature
        0 is greedy.
    top_p, top_k
        Nucleus and top-k cut; 1.0 and 0 switch them off.
    stop
        The answer ends before the first of these strings.
    seed
        Makes a draw repeatable.
    n
        Answers per prompt.
    """

    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    n: int = 1

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Decoding:
        """Read a request body; raises `ApiError` (400) for values or fields that cannot be honoured."""
        _refuse_unsupported(body)
        limit = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
        return cls(
            max_tokens=None if body.get(limit) is None else int(_number(body, limit, 0, 0, 1 << 20)),
            temperature=_number(body, "temperature", 1.0, 0.0, 10.0),
            top_p=_number(body, "top_p", 1.0, 0.0, 1.0),
            top_k=int(_number(body, "top_k", 0, -1, 1 << 20)),
            stop=_stop(body.get("stop") or ()),
            seed=None
            if body.get("seed") is None
            else int(_number(body, "seed", 0, -(1 << 63), (1 << 63) - 1)),
            n=int(_number(body, "n", 1, 1, 128)),
        )


def _number(body: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = body.get(name)
    if value is None:
        value = default
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise invalid_request(f"`{name}` must be a number from {low} to {high}.", name, "invalid_value")
    return value


def _stop(stop: Any) -> tuple[str, ...]:
    texts = [stop] if isinstance(stop, str) else stop
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise invalid_request("`stop` must be a string or a list of strings.", "stop", "invalid_value")
    return tuple(text for text in texts if text)


def _refuse_unsupported(body: Mapping[str, Any]) -> None:
    for name, words in REFUSED.items():
        value = body.get(name)
        if name == "response_format" and isinstance(value, Mapping) and value.get("type") == "text":
            continue
        if value not in (None, False, 0, {}, ""):
            message = f"The local backend does not support {words}; use a candidate that vLLM serves."
            raise invalid_request(message, name, "unsupported_parameter")


class TextStream:
    """Text that grows token by token.

    Parameters
    ----------
    decode
        Token ids to text, special tokens left out.
    stop
        Stop strings; text that may be the beginning of one is held back.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stop: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stop = tuple(stop)
        self._ids: list[int] = []
        self._given = 0
        self.stopped = False

    def push(self, token: int) -> str:
        """Add a token; what can be shown now. Sets `stopped` once a stop string is complete."""
        self._ids.append(token)
        text = self._decode(self._ids)
        found = [
            place for place in (text.find(stop, self._search_from()) for stop in self._stop) if place >= 0
        ]
        if found:
            self.stopped = True
            return self._give(text[: min(found)], hold=0)
        if text.endswith("\ufffd"):  # the middle of a character of several tokens
            return ""
        return self._give(text, hold=self._held(text))

    def flush(self) -> str:
        """What was held back, at the end of an answer that no stop string ended."""
        return "" if self.stopped else self._give(self._decode(self._ids), hold=0)

    def _search_from(self) -> int:
        return max(0, self._given - max((len(stop) for stop in self._stop), default=0))

    def _held(self, text: str) -> int:
        """Length of the longest end of the text that begins a stop string."""
        longest = 0
        for stop in self._stop:
            for size in range(min(len(stop) - 1, len(text)), longest, -1):
                if text.endswith(stop[:size]):
                    longest = size
                    break
        return longest

    def _give(self, text: str, hold: int) -> str:
        new = text[self._given : len(text) - hold]
        self._given += len(new)
        return new
