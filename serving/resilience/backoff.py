"""How long to wait before everybody is asked again.

Full jitter (M. Brooker, *Exponential Backoff And Jitter*, AWS Architecture Blog, 2015): clients that failed
together do not come back together. A library's retry loop would repeat one call by its own clock; here the
whole ranking is repeated, against the request's deadline, and the times are injected.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Waiting times between rounds.

    Attributes
    ----------
    retries
        Rounds after the first one; 0 gives up at once.
    first_s
        Longest wait before the first repetition, in seconds; it doubles from round to round.
    max_s
        Longest wait of all; a backend that asks for more (`Retry-After`) is not waited for.
    uniform
        Draws between two bounds.
    """

    retries: int = 1
    first_s: float = 0.1
    max_s: float = 1.0
    uniform: Callable[[float, float], float] = random.uniform

    def wait_s(self, done: int, asked_s: float | None, left_s: float) -> float | None:
        """Seconds to wait after `done` repetitions.

        Parameters
        ----------
        done
            Repetitions so far.
        asked_s
            What the backends asked for, at least.
        left_s
            What is left of the request's time.

        Returns
        -------
        float or None
            None: do not try again.
        """
        if done >= self.retries or (asked_s or 0.0) > self.max_s:
            return None
        bound_s = min(self.first_s * 2**done, self.max_s)
        wait_s = (asked_s or 0.0) + self.uniform(0.0, bound_s)
        return wait_s if wait_s < left_s else None
