"""The lines of a batch, OpenAI's JSONL, one at a time.

A line that cannot be run becomes a `Fault` that names it; nothing is raised for it: one pass finds them all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeAlias

from probes.errors import DataError
from serving.batch.files import opened
from serving.http.errors import ApiError
from serving.http.protocol import Query, json_object, parse_chat, parse_completion

MAX_LINE_BYTES = 8 << 20
"""Longest line; as the gateway's request body."""
PARSERS: Mapping[str, Callable[[bytes, str], Query]] = {
    "/v1/chat/completions": parse_chat,
    "/v1/completions": parse_completion,
}
"""What a line's `url` may be."""


@dataclass(frozen=True)
class Line:
    """A line that can be run.

    Attributes
    ----------
    number
        Counted from 1.
    offset
        Where its JSON begins, in bytes.
    custom_id
        The client's name for it.
    query
        Its request.
    """

    number: int
    offset: int
    custom_id: str
    query: Query


@dataclass(frozen=True)
class Fault:
    """A line that cannot be run, and why."""

    number: int
    custom_id: str | None
    code: str
    message: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.message.rstrip('.')}"


Item: TypeAlias = Line | Fault


class LineReader:
    """Reads a JSONL file of requests in constant memory but for 16 bytes a line (its name's digest).

    Parameters
    ----------
    path
        OpenAI's batch input: ``{"custom_id", "method", "url", "body"}`` a line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: set[bytes] = set()

    def __iter__(self) -> Iterator[Item]:
        """Every line that is not blank.

        Raises
        ------
        UsageError
            The file cannot be read.
        DataError
            It is empty.
        """
        self._seen.clear()
        any_line = False
        with opened(self._path) as handle:
            number, offset = 0, 0
            while raw := handle.readline(MAX_LINE_BYTES + 1):
                number += 1
                begin, offset = offset, offset + len(raw)
                if len(raw) > MAX_LINE_BYTES and not raw.endswith(b"\n"):
                    offset += _skip_line(handle)
                    any_line = True
                    yield Fault(number, None, "line_too_long", f"longer than {MAX_LINE_BYTES} bytes")
                elif raw.strip():
                    any_line = True
                    yield self._item(number, begin, raw)
        if not any_line:
            raise DataError(f"{self._path} is empty.", param="input", hint="Write one request a line.")

    def _item(self, number: int, offset: int, raw: bytes) -> Item:
        item = parse_line(number, offset, raw)
        if isinstance(item, Line):
            digest = hashlib.blake2b(item.custom_id.encode(), digest_size=16).digest()
            if digest in self._seen:
                return Fault(
                    number,
                    item.custom_id,
                    "duplicate_custom_id",
                    f"custom_id {item.custom_id!r} was used before",
                )
            self._seen.add(digest)
        return item


def parse_line(number: int, offset: int, raw: bytes) -> Item:
    """One line as a request, or what is wrong with it."""
    custom_id = None
    try:
        row = json_object(raw)
        custom_id = _custom_id(row)
        url = str(row.get("url"))
        if url not in PARSERS:
            known = ", ".join(PARSERS)
            return Fault(
                number, custom_id, "unknown_endpoint", f"url must be one of {known}, not {url!r}"[:300]
            )
        if row.get("method", "POST") != "POST":
            return Fault(
                number, custom_id, "invalid_method", f"method must be POST, not {row['method']!r}"[:200]
            )
        if not isinstance(row.get("body"), dict):
            return Fault(number, custom_id, "invalid_body", "body must be an object")
        body = {"model": "auto", **row["body"]}
        if body.get("stream"):
            return Fault(number, custom_id, "invalid_body", "body.stream: a batch does not stream")
        if body.get("messages") == []:
            return Fault(number, custom_id, "invalid_value", "there is no prompt: body.messages is empty")
        query = PARSERS[url](json.dumps(body).encode(), f"batch-{number}")
    except ApiError as error:
        message = error.message.removeprefix("The body is ").replace(" at line 1, column", " at column")
        return Fault(number, custom_id, error.code or "invalid_request", message)
    return Line(number, offset, custom_id, query)


def _custom_id(row: Mapping[str, Any]) -> str:
    value = row.get("custom_id")
    if not isinstance(value, str) or not 1 <= len(value) <= 512:
        raise ApiError(400, "custom_id must be text of 1 to 512 characters", code="invalid_custom_id")
    return value


def _skip_line(handle: BufferedReader) -> int:
    """Read on to the end of a line that is too long; the bytes skipped."""
    skipped = 0
    while part := handle.readline(1 << 20):
        skipped += len(part)
        if part.endswith(b"\n"):
            break
    return skipped
