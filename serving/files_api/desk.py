"""What the endpoints do: files in and out, batches made, looked at and cancelled; each key sees its own."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from serving.files_api.batches import BatchStore
from serving.files_api.files import PURPOSES, FileStore, no_room
from serving.files_api.listing import Page
from serving.files_api.request import BatchRequest
from serving.files_api.running.runner import BatchRunner
from serving.files_api.upload import Upload, receive_form, too_large
from serving.flow.gateway import Gateway
from serving.http.answering import as_json, limited_body
from serving.http.errors import ApiError, invalid_request
from serving.http.protocol import json_object, validated
from serving.keys.middleware import key_of
from serving.settings import FileSettings

FILES_LIMIT, BATCHES_LIMIT = 10_000, 20
"""Entries of a page that does not say how many, as OpenAI's."""
FORM_BYTES = 64 << 10
"""What a form may hold beside its file."""


class Desk:
    """Files and batches of one gateway.

    Parameters
    ----------
    gateway
        Answers the lines.
    settings
        Where files are kept.
    """

    def __init__(self, gateway: Gateway, settings: FileSettings) -> None:
        folder = gateway.settings.folder / settings.folder
        self._gateway, self._settings = gateway, settings
        self._files, self._batches = FileStore(folder / "files"), BatchStore(folder / "batches")
        self.runner = BatchRunner(gateway, self._files, self._batches, settings)

    async def upload(self, request: Request) -> Response:
        """Keep a file."""
        limit = self._limit(request)
        length = request.headers.get("content-length", "0")
        if length.isdecimal() and int(length) > limit + FORM_BYTES:
            raise too_large(limit)
        place = self._files.fresh()
        try:
            form = await receive_form(
                request.stream(),
                request.headers.get("content-type", ""),
                place,
                limit=limit,
                timeout_s=self._gateway.settings.body_timeout_s,
            )
            purpose = _purpose(form)
            found = await asyncio.to_thread(self._files.add, place, form.filename, purpose, _owner(request))
        except OSError as error:
            if error.errno is None or error.errno == errno.EINVAL:
                raise
            raise no_room(error) from error
        finally:
            place.unlink(missing_ok=True)
        return as_json(found.to_openai())

    async def files(self, request: Request) -> Response:
        """A page of the key's files."""
        page = Page.of_query(request.query_params, limit=FILES_LIMIT)
        wanted = request.query_params.get("purpose")
        found = await asyncio.to_thread(lambda: list(self._files.owned(_owner(request))))
        return as_json(page.of([f.to_openai() for f in found if wanted in (None, f.purpose)]))

    async def file(self, request: Request, name: str) -> Response:
        """What is known of a file."""
        return as_json(self._files.get(name, _owner(request)).to_openai())

    async def content(self, request: Request, name: str) -> Response:
        """A file's content."""
        found = self._files.get(name, _owner(request))
        path = self._files.content(found)
        return FileResponse(path, media_type="application/octet-stream", filename=found.filename)

    async def delete(self, request: Request, name: str) -> Response:
        """Remove a file; a batch that was made of it goes on."""
        found = self._files.get(name, _owner(request))
        await asyncio.to_thread(self._files.delete, found)
        return as_json({"id": found.id, "object": "file", "deleted": True})

    async def create(self, request: Request) -> Response:
        """Make a batch of an uploaded file; it begins at once."""
        body = json_object(await limited_body(request, self._gateway))
        order = validated(BatchRequest, body).order()
        owner = _owner(request)
        try:
            file = self._files.get(order.input_file_id, owner)
        except ApiError as error:
            raise invalid_request(error.message, "input_file_id", error.code) from error
        if file.purpose != "batch":
            message = f"The file is for {file.purpose!r}; upload it with purpose 'batch'."
            raise invalid_request(message, "input_file_id", "invalid_purpose")
        self._check_policy(order.policy)
        record = await asyncio.to_thread(self._made, order, owner, self._files.content(file))
        self.runner.wake()
        return as_json(record)

    async def batches(self, request: Request) -> Response:
        """A page of the key's batches."""
        page = Page.of_query(request.query_params, limit=BATCHES_LIMIT)
        found = await asyncio.to_thread(lambda: list(self._batches.owned(_owner(request))))
        return as_json(page.of([record.to_openai() for record in found]))

    async def batch(self, request: Request, name: str) -> Response:
        """How far a batch is."""
        return as_json(self._batches.get(name, _owner(request)).to_openai())

    async def cancel(self, request: Request, name: str) -> Response:
        """End a batch; its answers so far become its output."""
        owner = _owner(request)
        record = self._batches.get(name, owner)
        if record.over:
            message = f"A batch that is {record.status} cannot be cancelled."
            raise ApiError(409, message, param="batch_id", code="batch_is_over")
        self._batches.cancel(record)
        self.runner.wake()
        return as_json(self._batches.get(name, owner).to_openai())

    def _made(self, order: Any, owner: str | None, content: Path) -> dict[str, Any]:
        try:
            return self._batches.create(order, owner, content).to_openai()
        except OSError as error:
            raise no_room(error) from error

    def _limit(self, request: Request) -> int:
        key = key_of(request)
        own = None if key is None else key.max_body_bytes
        return min(self._settings.max_file_bytes, own or self._settings.max_file_bytes)

    def _check_policy(self, policy: str | None) -> None:
        if policy is not None:
            try:
                self._gateway.names.resolve(f"auto:{policy}")
            except ApiError as error:
                raise invalid_request(f"There is no policy {policy[:80]!r}.", "foresight.policy") from error


def _owner(request: Request) -> str | None:
    key = key_of(request)
    return None if key is None else key.id


def _purpose(form: Upload) -> str:
    purpose = form.fields.get("purpose", "")
    if purpose not in PURPOSES or purpose == "batch_output":
        known = ", ".join(name for name in PURPOSES if name != "batch_output")
        raise invalid_request(f"`purpose` must be one of: {known}.", "purpose", "invalid_purpose")
    return purpose
