"""Files of a job: read, or written whole; what is wrong with one is told as a user's error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from probes.errors import UsageError
from probes.files import whole_file


def opened(path: Path) -> BufferedReader:
    """A file for reading; `UsageError` if it is not there."""
    try:
        return path.open("rb")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}.", param="input", hint="Check the path."
        ) from error


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A file that is whole, or not there; `UsageError` where it, or its folder, cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as fresh:
            yield fresh
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}.",
            param="output",
            hint="Make room or choose another folder; the same command goes on from there.",
        ) from error
