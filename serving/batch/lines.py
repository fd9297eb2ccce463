"""The lines of a batch: OpenAI's JSONL, or Parquet and CSV with a prompt column, one at a time.

A line that cannot be run becomes a `Fault` that names it; nothing is raised for it: one pass finds them all.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeAlias

from probes.errors import DataError, UsageError
from serving.http.errors import ApiError
from serving.http.protocol import Query, json_object, parse_chat, parse_completion

MAX_LINE_BYTES = 8 << 20
"""Longest line; as the gateway's request body."""
PARSERS: Mapping[str, Callable[[bytes, str], Query]] = {
    "/v1/chat/completions": parse_chat,
    "/v1/completions": parse_completion,
}
"""What a line's `url` may be."""
COLUMNS = ("custom_id", "prompt", "system", "model", "max_tokens")
"""Columns that are read of a table; only `prompt` is needed."""


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
        query = PARSERS[url](json.dumps(body).encode(), f"batch-{number}")
    except ApiError as error:
        return Fault(number, custom_id, error.code or "invalid_request", error.message)
    return Line(number, offset, custom_id, query)


def _custom_id(row: Mapping[str, Any]) -> str:
    value = row.get("custom_id")
    if not isinstance(value, str) or not 1 <= len(value) <= 512:
        raise ApiError(400, "custom_id must be text of 1 to 512 characters", code="invalid_custom_id")
    return value


def opened(path: Path) -> BufferedReader:
    """A file for reading; `UsageError` if it is not there."""
    try:
        return path.open("rb")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}.", param="input", hint="Check the path."
        ) from error


def _skip_line(handle: BufferedReader) -> int:
    """Read on to the end of a line that is too long; the bytes skipped."""
    skipped = 0
    while part := handle.readline(1 << 16):
        skipped += len(part)
        if part.endswith(b"\n"):
            break
    return skipped


def as_jsonl(path: Path, folder: Path) -> Path:
    """The input as JSONL: itself, or a copy of a Parquet or CSV table in `folder`, written streaming.

    Raises
    ------
    UsageError, DataError
        The table cannot be read or has no column `prompt`.
    """
    if path.suffix not in (".csv", ".parquet"):
        return path
    opened(path).close()
    rows = _csv_rows(path) if path.suffix == ".csv" else _parquet_rows(path)
    target = folder / "lines.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8") as handle:
        for number, row in enumerate(rows, start=1):
            handle.write(json.dumps(_request(number, row), ensure_ascii=False) + "\n")
    return target


def _request(number: int, row: Mapping[str, Any]) -> dict[str, Any]:
    """A table's row as a batch line; an empty prompt is left to the check of the line."""
    system = [{"role": "system", "content": str(row["system"])}] if row.get("system") else []
    prompt = row.get("prompt")
    messages = [*system, {"role": "user", "content": str(prompt)}] if prompt else []
    body: dict[str, Any] = {"model": str(row.get("model") or "auto"), "messages": messages}
    if row.get("max_tokens") not in (None, ""):
        text = str(row["max_tokens"])
        body["max_tokens"] = int(text) if text.isdecimal() else text
    custom_id = str(row.get("custom_id") or f"line-{number}")
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


def _csv_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle)
            _check_columns(path, list(reader.fieldnames or ()))
            yield from reader
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: not valid CSV ({error}).", param="input", hint="Save it as UTF-8 CSV."
        ) from error


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            _check_columns(path, table.schema_arrow.names)
            columns = [name for name in COLUMNS if name in table.schema_arrow.names]
            for batch in table.iter_batches(batch_size=4096, columns=columns):
                yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise DataError(
            f"{path}: not a readable Parquet file.", param="input", hint="Write it again."
        ) from error


def _check_columns(path: Path, found: list[str]) -> None:
    if "prompt" not in found:
        raise DataError(
            f"{path} has no column 'prompt' (found: {', '.join(found) or 'none'}).",
            param="input",
            hint=f"Name the column of questions 'prompt'; {', '.join(COLUMNS)} are read.",
        )
