"""Names for questions that have none."""

from __future__ import annotations

import hashlib


def name_of(prompt: str, dataset: str = "") -> str:
    """The same name for the same text, whichever file and line it stands in."""
    digest = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{dataset}/{digest}" if dataset else digest
