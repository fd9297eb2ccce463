"""Pages of a list, as OpenAI's clients walk through them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.http.errors import invalid_request

MAX_LIMIT = 10_000


@dataclass(frozen=True)
class Page:
    """Which part of a list is asked for.

    Attributes
    ----------
    limit
        Most entries.
    after
        Name of the last entry of the page before; None begins.
    newest_first
        The order.
    """

    limit: int
    after: str | None = None
    newest_first: bool = True

    @classmethod
    def of_query(cls, query: Mapping[str, str], *, limit: int) -> Page:
        """From a request's query string; `ApiError` (400) names a parameter that is wrong."""
        text = query.get("limit", str(limit))
        if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= MAX_LIMIT:
            raise invalid_request(f"`limit` must be a number from 1 to {MAX_LIMIT}.", "limit")
        order = query.get("order", "desc")
        if order not in ("asc", "desc"):
            raise invalid_request("`order` must be asc or desc.", "order")
        return cls(int(text), query.get("after"), order == "desc")

    def of(self, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The page of these entries, in OpenAI's shape."""
        ordered = sorted(entries, key=lambda entry: str(entry["id"]), reverse=self.newest_first)
        if self.after is not None:
            ordered = [entry for entry in ordered if self._is_later(str(entry["id"]), self.after)]
        data = ordered[: self.limit]
        return {
            "object": "list",
            "data": data,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
            "has_more": len(ordered) > len(data),
        }

    def _is_later(self, name: str, after: str) -> bool:
        return name < after if self.newest_first else name > after
