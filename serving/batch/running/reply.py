"""The seam between a job and whoever reaches its candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from serving.http.errors import ApiError
from serving.http.protocol import Query

NO_MONEY = "insufficient_quota"
"""Code of an answer that a key cannot pay."""


@dataclass(frozen=True)
class Reply:
    """A complete answer: the body, and its tokens."""

    body: dict[str, Any]
    input_tokens: int
    output_tokens: int


class Asker(Protocol):
    """Asks one candidate one query; patient, and `ApiError` when there is no answer."""

    async def ask(self, query: Query, candidate: str) -> Reply:
        """The whole answer."""
        ...


def is_final(error: ApiError) -> bool:
    """Whether another try would not change it: the request itself is refused."""
    return error.status in range(400, 428) and error.status not in (401, 403, 404, 408)
