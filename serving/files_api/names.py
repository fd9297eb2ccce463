"""Names of files and batches: in order of their making, not to be guessed, and safe in a path."""

from __future__ import annotations

import re
import secrets
import time

_NAME = re.compile(r"(?:file-|batch_)[0-9a-f]{32}")


def new_name(prefix: str) -> str:
    """`prefix`, the time in nanoseconds, and 64 random bits."""
    return f"{prefix}{time.time_ns():016x}{secrets.token_hex(8)}"


def is_name(text: str) -> bool:
    """Whether `new_name` could have made it."""
    return _NAME.fullmatch(text) is not None
