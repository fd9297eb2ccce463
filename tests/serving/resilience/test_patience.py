"""Patience ends waits as `asyncio.timeout_at` does, with one timer."""

from __future__ import annotations

import asyncio
from time import perf_counter

import pytest

from serving.resilience.patience import Patience


def now() -> float:
    """The event loop's time."""
    return asyncio.get_running_loop().time()


def test_short_waits_pass_and_a_long_one_ends_in_time() -> None:
    async def work() -> tuple[int, float]:
        patience, done = Patience(), 0
        for _ in range(20):
            with patience.until(now() + 0.1):
                await asyncio.sleep(0.01)
            done += 1
        began = perf_counter()
        with pytest.raises(TimeoutError), patience.until(now() + 0.1):
            await asyncio.sleep(10)
        with patience.until(now() + 1):  # and it can be used again
            await asyncio.sleep(0.01)
        patience.close()
        return done, perf_counter() - began

    done, took_s = asyncio.run(work())

    assert done == 20
    assert 0.1 <= took_s < 1


def test_a_limit_may_come_closer() -> None:
    async def work() -> None:
        patience = Patience()
        with patience.until(now() + 30):
            pass
        async with asyncio.timeout(5):
            with pytest.raises(TimeoutError), patience.until(now() + 0.02):
                await asyncio.sleep(10)
        patience.close()

    began = perf_counter()
    asyncio.run(work())
    assert perf_counter() - began < 4


def test_a_pause_between_two_waits_counts_for_neither() -> None:
    async def work() -> str:
        patience = Patience()
        with patience.until(now() + 0.02):
            pass
        await asyncio.sleep(0.1)  # a slow client: nobody waits for the backend
        with patience.until(now() + 0.5):
            await asyncio.sleep(0.05)
        patience.close()
        return "through"

    assert asyncio.run(work()) == "through"


def test_who_cancels_from_outside_is_not_told_of_a_timeout() -> None:
    async def work() -> None:
        with Patience().until(now() + 30):
            await asyncio.sleep(10)

    async def cancelled() -> bool:
        task = asyncio.create_task(work())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return task.cancelled()

    assert asyncio.run(cancelled())


def test_other_errors_pass_and_a_closed_timer_never_fires() -> None:
    async def work() -> None:
        patience = Patience()
        with pytest.raises(ValueError, match="mine"), patience.until(now() + 0.02):
            raise ValueError("mine")
        patience.close()
        await asyncio.sleep(0.05)

    asyncio.run(work())
