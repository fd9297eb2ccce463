"""A limit on how long a task waits, for waits that come often: one timer for all of them."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Patience:
    """Ends a wait with `TimeoutError`, as `asyncio.timeout_at` does.

    That one sets and clears a timer for every wait, and a stream waits for each of its events. Here the timer
    stays from one wait to the next, and is set anew when it fires while there is still time.

    Examples
    --------
    >>> async def wait() -> None:
    ...     patience = Patience()
    ...     with patience.until(asyncio.get_running_loop().time() + 0.01):
    ...         await asyncio.sleep(1)
    >>> asyncio.run(wait())
    Traceback (most recent call last):
    TimeoutError
    """

    __slots__ = ("_cancelling", "_expired", "_loop", "_task", "_timer", "_until", "_when")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._when = 0.0
        self._until: float | None = None
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._expired = False

    def until(self, when: float) -> Self:
        """Wait no longer than this, in the event loop's time; used as `with patience.until(when)`."""
        self._until = when
        if self._timer is None or when < self._when:
            self._set(when)
        return self

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("patience is a task's")
        self._task, self._cancelling = task, task.cancelling()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        task, self._task, self._until = self._task, None, None
        if not self._expired or task is None:
            return
        self._expired = False
        if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def close(self) -> None:
        """No wait is left."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, when: float) -> None:
        self.close()
        self._when = when
        self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._until is None or self._task is None:
            return
        if self._loop.time() < self._until:
            self._set(self._until)
        else:
            self._expired = True
            self._task.cancel()
