"""Parquet and CSV tables with a prompt column, as the lines of a batch."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from probes.errors import DataError
from serving.batch.files import opened, written
from serving.batch.reading.lines import MAX_LINE_BYTES

COLUMNS = ("custom_id", "prompt", "system", "model", "max_tokens")
"""Columns that are read of a table; only `prompt` is needed."""


def as_jsonl(path: Path, folder: Path) -> Path:
    """The input as JSONL: itself, or a copy of a Parquet or CSV table in `folder`, written streaming.

    Raises
    ------
    UsageError, DataError
        The table cannot be read, has no column `prompt` or no row, or there is no room for the copy.
    """
    read = READERS.get(path.suffix.lower())
    if read is None:
        return path
    opened(path).close()
    target, number = folder / "lines.jsonl", 0
    try:
        with written(target) as fresh, fresh.open("w", encoding="utf-8") as handle:
            for number, row in enumerate(read(path), start=1):
                handle.write(json.dumps(_request(number, row)) + "\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}, row {number}: not UTF-8 text.", param="input", hint="Write text columns."
        ) from error
    if not number:
        raise DataError(f"{path} has no rows.", param="input", hint="Write one question a row.")
    return target


def _request(number: int, row: Mapping[str, Any]) -> dict[str, Any]:
    """A table's row as a batch line; an empty prompt is left to the check of the line."""
    parts = (("system", _text(row.get("system"))), ("user", _text(row.get("prompt"))))
    messages = [{"role": role, "content": text} for role, text in parts if text is not None]
    body: dict[str, Any] = {
        "model": _text(row.get("model")) or "auto",
        "messages": messages if parts[1][1] is not None else [],
    }
    if (limit := _text(row.get("max_tokens"))) is not None:
        body["max_tokens"] = _whole(limit)
    custom_id = _text(row.get("custom_id")) or f"line-{number}"
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


def _text(value: Any) -> str | None:
    """A cell's text; None where there is none: empty, blank, NaN (as pandas writes a gap), a list."""
    if isinstance(value, bytes):
        value = value.decode("utf-8")
    if not isinstance(value, str | int | float) or value != value:  # NaN is not itself
        return None
    if isinstance(value, float) and value.is_integer():  # a column of whole numbers with a gap
        value = int(value)
    text = str(value)
    return text if text.strip() else None


def _whole(text: str) -> int | str:
    """A whole number, also one that became `16.0` among gaps; else it is left to the check of the line."""
    head = text.strip().removesuffix(".0")
    return int(head) if head.isdecimal() else text


def _csv_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    reader = None
    limit = csv.field_size_limit(MAX_LINE_BYTES)
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle, strict=True)
            _check_columns(path, list(reader.fieldnames or ()))
            yield from reader
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text.", param="input", hint="Save it as UTF-8 CSV.") from error
    except csv.Error as error:
        line = "" if reader is None else f", line {reader.line_num}"
        raise DataError(
            f"{path}{line}: not valid CSV ({error}).",
            param="input",
            hint="Quote what holds commas, quotes or line breaks; double the quotes inside.",
        ) from error
    finally:
        csv.field_size_limit(limit)


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            _check_columns(path, table.schema_arrow.names)
            columns = [name for name in COLUMNS if name in table.schema_arrow.names]
            for batch in table.iter_batches(batch_size=4096, columns=columns):
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"{path}: not a readable Parquet file.", param="input", hint="Write it again."
        ) from error


READERS: Mapping[str, Callable[[Path], Iterator[Mapping[str, Any]]]] = {
    ".csv": _csv_rows,
    ".parquet": _parquet_rows,
}
"""What is read as a table, by the end of its name."""


def _check_columns(path: Path, found: list[str]) -> None:
    if "prompt" not in found:
        raise DataError(
            f"{path} has no column 'prompt' (found: {', '.join(found) or 'none'}).",
            param="input",
            hint=f"Name the column of questions 'prompt'; {', '.join(COLUMNS)} are read.",
        )
