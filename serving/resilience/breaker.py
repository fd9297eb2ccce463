"""A breaker for each backend: one that keeps failing is left alone, then asked again with one query.

Pure: no tasks and no timers, the time comes from outside. States: `closed` (all is well) → `open` after a run
of failures (nobody asks) → `half-open` when the rest is over (a single query probes) → `closed`, or `open`
for twice as long. After M. Nygard, *Release It!*, 2nd ed., section 5.2.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class BreakerState(StrEnum):
    """Whether a backend is asked."""

    CLOSED = "closed"
    HALF_OPEN = "half-open"
    OPEN = "open"


@dataclass(frozen=True)
class BreakerRule:
    """When a breaker opens and for how long.

    Attributes
    ----------
    failures
        Failures in a row that open it, at least 1.
    rest_s
        How long it stays open the first time, in seconds.
    max_rest_s
        The rest doubles with each probe that fails, up to this.
    """

    failures: int = 5
    rest_s: float = 1.0
    max_rest_s: float = 30.0


class Permit:
    """Leave to ask a backend once. What came of it is told once; an answer that began can still break."""

    __slots__ = ("_breaker", "_era", "_open")

    def __init__(self, breaker: Breaker, era: int) -> None:
        self._breaker = breaker
        self._era = era
        self._open = True

    def succeeded(self) -> None:
        """The backend answered."""
        self._report("succeeded")

    def failed(self) -> None:
        """The backend is at fault."""
        self._report("failed")

    def abandoned(self) -> None:
        """Nothing was learnt: the client left, or somebody else was faster."""
        self._report("abandoned")

    def broke(self) -> None:
        """An answer that had begun well broke off; before `succeeded` this says nothing."""
        if not self._open:
            self._breaker._settle(self._era, "failed")

    def _report(self, result: str) -> None:
        if self._open:
            self._open = False
            self._breaker._settle(self._era, result)


class Breaker:
    """One backend's breaker.

    Parameters
    ----------
    rule
        When it opens and for how long.
    clock
        Seconds since some fixed moment; never goes back.
    """

    def __init__(self, rule: BreakerRule | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._rule = rule or BreakerRule()
        self._clock = clock
        self._failures = 0
        self._trips = 0
        self._until = 0.0
        self._resting = False
        self._probing = False
        # Calls that began before the last change of state tell of the past and must not change it again.
        self._era = 0

    @property
    def state(self) -> BreakerState:
        """The state now."""
        if not self._resting:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self._clock() < self._until else BreakerState.HALF_OPEN

    @property
    def wait_s(self) -> float:
        """Seconds until somebody may ask; 0 if that is now."""
        return max(0.0, self._until - self._clock()) if self._resting else 0.0

    def permit(self) -> Permit | None:
        """Leave to ask the backend now; None if it is resting, or a probe is under way."""
        if self._resting:
            if self._probing or self._clock() < self._until:
                return None
            self._probing = True
        return Permit(self, self._era)

    def rest(self, seconds: float) -> None:
        """The backend asked to be left alone (`Retry-After`): no failure, but nobody asks until then."""
        if seconds > 0:
            self._open(min(seconds, self._rule.max_rest_s))

    def _settle(self, era: int, result: str) -> None:
        if era != self._era:
            return
        if self._resting and not self._probing:
            return
        probing, self._probing = self._probing, False
        if result == "succeeded":
            self._failures = 0
            if probing:
                self._close()
        elif result == "failed":
            self._failures += 1
            if probing or self._failures >= self._rule.failures:
                self._open(min(self._rule.rest_s * 2**self._trips, self._rule.max_rest_s))
                self._trips = min(self._trips + 1, 30)

    def _open(self, seconds: float) -> None:
        self._resting = True
        self._probing = False
        self._until = max(self._until, self._clock() + seconds)
        self._era += 1

    def _close(self) -> None:
        self._resting = False
        self._trips = 0
        self._era += 1
