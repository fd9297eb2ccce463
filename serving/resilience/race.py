"""Ask one after another, and, where it is wanted, the next one while the first is still silent (hedging)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

Result = TypeVar("Result")


async def race(
    attempts: Iterable[Callable[[], Awaitable[Result | None]]],
    hedge_after_s: float,
    give_up: Callable[[Result], Awaitable[None]],
) -> Result | None:
    """The first result that is not None.

    Parameters
    ----------
    attempts
        Begun in order: the next one when one has failed (gave None), or after `hedge_after_s` of silence.
    hedge_after_s
        In seconds.
    give_up
        Called with every further result that came at the same moment: nobody wants it.
    """
    waiting = iter(attempts)
    running: set[asyncio.Task[Any]] = set()
    winner: Result | None = None
    try:
        more = True
        while winner is None and (more or running):
            if more and (begin := next(waiting, None)) is not None:
                running.add(asyncio.ensure_future(begin()))
            else:
                more = False
            if not running:
                break
            timeout_s = hedge_after_s if more else None
            done, running = await asyncio.wait(
                running, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                result: Result | None = task.result()
                if winner is None:
                    winner = result
                elif result is not None:
                    await give_up(result)
    finally:
        for task in running:
            task.cancel()
        for late in await asyncio.gather(*running, return_exceptions=True):
            if late is not None and not isinstance(late, BaseException):
                await give_up(late)
    return winner
