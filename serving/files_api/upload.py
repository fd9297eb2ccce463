"""A multipart form whose file goes to disk as it arrives: memory holds one chunk and the small fields."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from serving.http.errors import ApiError, invalid_request

MAX_FIELD_BYTES = 4096
MAX_PARTS = 32
CHUNK_BYTES = 1 << 20
"""Bytes that are written at once."""


@dataclass
class _Form:
    """What the parser told so far."""

    file: IO[bytes]
    limit: int
    fields: dict[str, bytearray] = field(default_factory=dict)
    filename: str | None = None
    size: int = 0
    parts: int = 0
    ended: bool = False
    _header: tuple[bytearray, bytearray] = field(default_factory=lambda: (bytearray(), bytearray()))
    _name: str = ""
    _is_file: bool = False

    def part_begin(self) -> None:
        self._name, self._is_file = "", False
        self.parts += 1
        if self.parts > MAX_PARTS:
            raise invalid_request(f"The form has more than {MAX_PARTS} parts.", "body")

    def header_begin(self) -> None:
        self._header = (bytearray(), bytearray())

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def header_end(self) -> None:
        name, value = self._header
        if bytes(name).lower() != b"content-disposition":
            return
        _, options = parse_options_header(bytes(value))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._is_file = self._name == "file"
        if self._is_file:
            if self.filename is not None:
                raise invalid_request("The form has more than one file.", "file")
            self.filename = _base_name(options.get(b"filename", b"").decode("utf-8", "replace"))

    def part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self.size += end - start
            if self.size > self.limit:
                raise too_large(self.limit)
            self.file.write(memoryview(data)[start:end])
            return
        kept = self.fields.setdefault(self._name, bytearray())
        kept.extend(data[start:end])
        if len(kept) > MAX_FIELD_BYTES:
            raise invalid_request(f"The field is longer than {MAX_FIELD_BYTES} bytes.", self._name[:80])

    def end(self) -> None:
        self.ended = True


@dataclass(frozen=True)
class Upload:
    """A form that has arrived; its file is where it was sent."""

    filename: str
    fields: dict[str, str]


async def receive_form(
    stream: AsyncIterator[bytes], content_type: str, target: Path, *, limit: int, timeout_s: float
) -> Upload:
    """Read a form with one field `file`.

    Parameters
    ----------
    stream
        The request's body.
    content_type
        With the boundary.
    target
        Where the file goes; it stays there, half written, if this raises.
    limit
        Most bytes of the file.
    timeout_s
        Longest silence, in seconds.

    Raises
    ------
    ApiError
        400 for what is no such form, 413 for a larger file, 408 for a client that fell silent.
    OSError
        The file cannot be written.
    """
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise invalid_request("The body must be multipart/form-data with a boundary.", "body")
    with target.open("wb", buffering=CHUNK_BYTES) as file:
        form = _Form(file, limit)
        parser = _parser(form, boundary)
        try:
            while chunk := await _next(stream, timeout_s):
                await asyncio.to_thread(parser.write, chunk)
        except FormParserError as error:
            raise invalid_request("The body is no valid multipart/form-data.", "body") from error
    if not form.ended or form.filename is None:
        raise invalid_request("The form has no field `file`, or was cut off.", "file")
    fields = {name: bytes(value).decode("utf-8", "replace") for name, value in form.fields.items()}
    return Upload(form.filename, fields)


def too_large(limit: int) -> ApiError:
    """A file beyond the limit."""
    message = f"The file is larger than {limit} bytes."
    return ApiError(413, message, param="file", code="request_too_large", headers={"connection": "close"})


async def _next(stream: AsyncIterator[bytes], timeout_s: float) -> bytes:
    """Some of the body; nothing at its end."""
    parts, size = [], 0
    try:
        while size < CHUNK_BYTES:
            async with asyncio.timeout(timeout_s):
                part = await anext(stream)
            parts.append(part)
            size += len(part)
    except StopAsyncIteration:
        pass
    except TimeoutError as error:
        raise ApiError(408, "The request body did not arrive in time.", code="request_timeout") from error
    return b"".join(parts)


def _parser(form: _Form, boundary: bytes) -> MultipartParser:
    return MultipartParser(
        boundary,
        {
            "on_part_begin": form.part_begin,
            "on_part_data": form.part_data,
            "on_header_begin": form.header_begin,
            "on_header_field": form.header_field,
            "on_header_value": form.header_value,
            "on_header_end": form.header_end,
            "on_end": form.end,
        },
    )


def _base_name(name: str) -> str:
    """The last part of a path, of either kind; browsers and clients may send a whole one."""
    return PurePosixPath(PureWindowsPath(name).name).name[:255] or "upload"
