"""How many requests may come: a bucket of tokens that fills at a steady rate."""

from __future__ import annotations


class Bucket:
    """A token bucket; time is passed in, so that nothing here knows a clock.

    Parameters
    ----------
    per_s
        Tokens that come in a second, above 0.
    capacity
        Most tokens that it holds, at least 1; it begins full.
    now_s
        The time, of a clock that never goes back.
    """

    def __init__(self, per_s: float, capacity: float, now_s: float) -> None:
        self.per_s = per_s
        self.capacity = capacity
        self._tokens = capacity
        self._then_s = now_s

    def take(self, now_s: float) -> float:
        """Take one token: 0 if there was one, otherwise the seconds until there will be."""
        self._tokens = min(self.capacity, self._tokens + max(0.0, now_s - self._then_s) * self.per_s)
        self._then_s = max(self._then_s, now_s)
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self.per_s
