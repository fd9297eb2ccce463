"""The time of day, as a process should see it: it starts from the machine's clock and then only goes on.

A clock that somebody sets while the gateway runs would otherwise start a new budget day, or make every row
look old enough to be thrown away.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def elapsed_s() -> float:
    """Seconds since some fixed moment, time asleep included where the system tells."""
    return time.clock_gettime(_BOOT)


class Clock:
    """Unix time that no jump of the machine's clock moves.

    Parameters
    ----------
    wall
        The machine's clock, asked once.
    elapsed
        Seconds since some fixed moment.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, elapsed: Callable[[], float] = elapsed_s
    ) -> None:
        self._elapsed = elapsed
        self._offset_s = wall() - elapsed()

    def now(self) -> float:
        """Seconds since 1970."""
        return self._offset_s + self._elapsed()
