"""A stretch of time that a question about the ledger is about."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Column, ColumnElement, and_

from probes.errors import UsageError


@dataclass(frozen=True)
class Window:
    """From `since_s` up to, but without, `until_s`; Unix seconds."""

    since_s: float
    until_s: float

    def __post_init__(self) -> None:
        """Refuse a window without length."""
        if not self.since_s < self.until_s:
            raise UsageError(
                f"A window must end after it begins, not {self.since_s} to {self.until_s}.", param="window"
            )

    @classmethod
    def last(cls, length_s: float, now_s: float) -> Window:
        """The last `length_s` seconds."""
        return cls(now_s - length_s, now_s)

    def holds(self, column: Column[float]) -> ColumnElement[bool]:
        """The condition that a time is inside."""
        return and_(column >= self.since_s, column < self.until_s)
