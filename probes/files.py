"""Files that are either the old ones or complete, whatever happens while they are written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

READABLE = 0o644
OWNER_ONLY = 0o600


@contextmanager
def whole_file(path: str | Path, *, mode: int = READABLE) -> Iterator[Path]:
    """A temporary file beside `path` that takes its name when the block ends, and vanishes if it raises.

    Its content is on disk before it takes the name, so that a crash leaves one of the two.

    Parameters
    ----------
    path
        What is written; its folder exists.
    mode
        Its permissions. Until it takes the name, only its owner can read it.

    Raises
    ------
    OSError
        The folder cannot be written, or the disk is full.
    """
    target = Path(path)
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    os.close(descriptor)
    fresh = Path(name)
    try:
        yield fresh
        with fresh.open("rb+") as file:
            os.fsync(file.fileno())
        fresh.chmod(mode)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
