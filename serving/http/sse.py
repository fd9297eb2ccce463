"""Server-sent events at the level of bytes: find where events end, and touch nothing else.

A relay must not take a stream apart to pass it on. `EventBuffer` holds back only the unfinished tail, so that
what leaves the gateway is always whole events, however the network cut them; an error event can then follow
at any time without landing in the middle of another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

DONE = b"data: [DONE]\n\n"
"""The event that ends an OpenAI stream."""

EVENT_STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}
"""Headers that keep proxies from buffering a stream."""

_BOUNDARY = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE = re.compile(rb"\r\n|\n|\r")
_DONE = re.compile(rb"(?:\A|[\r\n])(data: ?\[DONE\])")
_ERROR = re.compile(rb"(?:\A|[\r\n])(data: ?\{\s*\"error\"\s*:\s*\{|event: ?error)")


class EventTooLarge(ValueError):
    """One event is larger than the buffer may grow."""


class EventBuffer:
    """Turn chunks of bytes into blocks of whole events.

    Parameters
    ----------
    max_event_bytes
        Largest unfinished event that is held; beyond it `EventTooLarge` is raised.
    """

    def __init__(self, max_event_bytes: int = 8 << 20) -> None:
        self._tail = b""
        self._max_event_bytes = max_event_bytes

    @property
    def pending(self) -> bool:
        """Whether an unfinished event is held back."""
        return bool(self._tail.strip())

    def feed(self, chunk: bytes) -> bytes:
        """All whole events that this chunk completes (possibly none): bytes unchanged, in order."""
        held = self._tail + chunk if self._tail else chunk
        cut = _last_boundary(held)
        self._tail = held[cut:]
        if len(self._tail) > self._max_event_bytes:
            raise EventTooLarge(f"an event is larger than {self._max_event_bytes} bytes")
        return held[:cut]


def _last_boundary(held: bytes) -> int:
    """Where the last whole event ends; 0 if none does."""
    best = 0
    for separator in (b"\n\n", b"\r\n\r\n", b"\r\r"):
        found = held.rfind(separator)
        if found >= 0:
            best = max(best, found + len(separator))
    return best


def split_done(block: bytes) -> tuple[bytes, bool]:
    """The events of a block before `data: [DONE]`, and whether it was there.

    A line of that text cannot occur inside a JSON payload: a line break in a JSON string is escaped.
    """
    if b"[DONE]" not in block:
        return block, False
    found = _DONE.search(block)
    return (block, False) if found is None else (block[: found.start(1)], True)


def split_error(block: bytes) -> tuple[bytes, bool]:
    """The events of a block before an error event, and whether there was one."""
    if b"error" not in block:
        return block, False
    found = _ERROR.search(block)
    return (block, False) if found is None else (block[: found.start(1)], True)


def payloads(block: bytes) -> Iterator[dict[str, Any]]:
    """The JSON objects of a block's events; comments, `[DONE]` and what is not an object are skipped."""
    for event in _BOUNDARY.split(block):
        lines = (line[5:].lstrip(b" ") for line in _LINE.split(event) if line.startswith(b"data:"))
        data = b"\n".join(lines)
        if not data.startswith(b"{"):
            continue
        try:
            parsed = json.loads(data)
        except ValueError:
            continue
        if isinstance(parsed, dict):
            yield parsed


def event(payload: dict[str, Any]) -> bytes:
    """One `data:` event."""
    return b"data: " + json.dumps(payload).encode() + b"\n\n"
