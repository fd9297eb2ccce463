"""Stored files: content, and what is known of it; each belongs to the key that made it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from probes.files import OWNER_ONLY, whole_file
from serving.files_api.names import is_name, new_name
from serving.http.errors import ApiError

PURPOSES = ("batch", "batch_output", "user_data", "evals", "fine-tune", "assistants", "vision")
PART = ".part"


@dataclass(frozen=True)
class StoredFile:
    """What is known of a file.

    Attributes
    ----------
    id
        Its name here.
    filename
        What its owner called it; never a path on this machine.
    purpose
        One of `PURPOSES`.
    bytes
        Its size.
    created_at
        Unix time in seconds.
    owner
        The key that made it; None where no keys are asked for.
    """

    id: str
    filename: str
    purpose: str
    bytes: int
    created_at: int
    owner: str | None

    def to_openai(self) -> dict[str, Any]:
        """OpenAI's file object."""
        shown = {name: value for name, value in asdict(self).items() if name != "owner"}
        return {"object": "file", "status": "processed", **shown}


class FileStore:
    """Files below one folder, which is made when the first one comes.

    Parameters
    ----------
    folder
        Where they are; several gateways may share it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fresh(self) -> Path:
        """A place for content that is still arriving.

        Raises
        ------
        ApiError
            507: the folder cannot be made.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise no_room(error) from error
        return self._folder / f"{new_name('file-')}{PART}"

    def add(
        self, content: Path, filename: str, purpose: str, owner: str | None, name: str | None = None
    ) -> StoredFile:
        """Take content, which moves here.

        Parameters
        ----------
        content
            Complete, on the same file system.
        name
            Its name; None makes one. A name that is taken is written anew.
        """
        found = StoredFile(
            name or new_name("file-"), filename, purpose, content.stat().st_size, int(time.time()), owner
        )
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.replace(content, self._data(found.id))
        with whole_file(self._meta(found.id), mode=OWNER_ONLY) as fresh:
            fresh.write_text(json.dumps(asdict(found)), encoding="utf-8")
        return found

    def get(self, name: str, owner: str | None) -> StoredFile:
        """A file of this owner; `ApiError` (404) where there is none."""
        found = self._read(self._meta(name)) if is_name(name) else None
        if found is None or found.owner != owner:
            raise ApiError(404, f"There is no file {name[:80]!r}.", param="file_id", code="file_not_found")
        return found

    def has(self, name: str) -> bool:
        """Whether anybody has a file of this name."""
        return self._meta(name).is_file()

    def content(self, file: StoredFile) -> Path:
        """Where its content is."""
        return self._data(file.id)

    def owned(self, owner: str | None) -> Iterator[StoredFile]:
        """All files of this owner."""
        for path in self._folder.glob("file-*.json"):
            found = self._read(path)
            if found is not None and found.owner == owner:
                yield found

    def delete(self, file: StoredFile) -> None:
        """Remove it; what is known of it goes first, so that no file is left without content."""
        self._meta(file.id).unlink(missing_ok=True)
        self._data(file.id).unlink(missing_ok=True)

    def sweep(self, older_than_s: float) -> None:
        """Remove what uploads that were cut off have left."""
        for path in self._folder.glob(f"file-*{PART}"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > older_than_s:
                    path.unlink()

    def _meta(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _data(self, name: str) -> Path:
        return self._folder / f"{name}.data"

    def _read(self, path: Path) -> StoredFile | None:
        try:
            return StoredFile(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None


def no_room(error: OSError) -> ApiError:
    """The storage cannot take it."""
    return ApiError(507, f"The file cannot be stored: {error.strerror}.", code="storage_unavailable")
