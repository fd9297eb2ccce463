"""Waiting times, admission, hedging and queues."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.configuration.pool import Pool
from serving.http.errors import ApiError
from serving.resilience.admission import Admission
from serving.resilience.backoff import Backoff
from serving.resilience.pressure import Load
from serving.resilience.race import race
from tests.serving.routing import router_of

VLLM = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 1.0
vllm:num_requests_waiting{engine="0",model_name="m"} 6.0
vllm:num_requests_waiting{engine="1",model_name="m"} 2.0
vllm:num_requests_waiting_by_reason{engine="0",reason="x"} 99.0
"""


class TestBackoff:
    @given(
        st.integers(0, 6),
        st.none() | st.floats(0, 20),
        st.floats(0, 10),
        st.floats(0, 1),
    )
    def test_waits_are_within_all_bounds(
        self, done: int, asked_s: float | None, left_s: float, share: float
    ) -> None:
        backoff = Backoff(retries=4, first_s=0.1, max_s=1.0, uniform=lambda a, b: a + share * (b - a))

        wait_s = backoff.wait_s(done, asked_s, left_s)

        if wait_s is None:
            assert done >= 4 or (asked_s or 0) > 1.0 or (asked_s or 0) + min(0.1 * 2**done, 1.0) >= left_s
        else:
            assert (asked_s or 0) <= wait_s <= (asked_s or 0) + min(0.1 * 2**done, 1.0)
            assert wait_s < left_s

    def test_those_that_failed_together_come_back_apart(self) -> None:
        assert len({Backoff(retries=1).wait_s(0, None, 60) for _ in range(50)}) > 40


class TestAdmission:
    def test_one_more_than_fits_is_told_to_come_back(self) -> None:
        admission = Admission(2, 100)
        with admission.place(), admission.place():
            with pytest.raises(ApiError) as caught, admission.place():
                raise AssertionError("there is no room")
            assert (caught.value.status, caught.value.headers) == (503, {"retry-after": "1"})
        with admission.place():
            assert admission.requests == 1

    @given(st.lists(st.integers(1, 60), max_size=20))
    def test_bytes_are_bounded_and_given_back(self, sizes: list[int]) -> None:
        admission = Admission(100, 100)
        with admission.place() as place:
            for size in sizes:
                room = 100 - admission.bytes
                with nullcontext() if size <= room else pytest.raises(ApiError, match="in flight"):
                    place.hold(size)
                assert admission.bytes <= 100
        assert (admission.requests, admission.bytes) == (0, 0)


class TestRace:
    async def test_the_next_is_asked_when_the_first_is_silent_and_the_first_is_stopped(self) -> None:
        stopped, given_up = asyncio.Event(), []

        async def silent() -> str | None:
            try:
                await asyncio.sleep(60)
            finally:
                stopped.set()
            return "late"

        async def quick() -> str | None:
            return "quick"

        async def give_up(result: str) -> None:
            given_up.append(result)

        assert await race([silent, quick], 0.01, give_up) == "quick"
        assert stopped.is_set()
        assert given_up == []

    async def test_a_failure_moves_on_at_once_and_nobody_is_none(self) -> None:
        async def failing() -> str | None:
            return None

        async def good() -> str | None:
            return "good"

        async def give_up(result: str) -> None:
            raise AssertionError(result)

        async with asyncio.timeout(1):
            assert await race([failing, good], 60, give_up) == "good"
            assert await race([failing, failing], 60, give_up) is None

    async def test_two_results_at_once_leave_one(self) -> None:
        both, given_up = asyncio.Event(), []

        def named(name: str):  # type: ignore[no-untyped-def]
            async def attempt() -> str | None:
                await both.wait()
                return name

            return attempt

        async def last() -> str | None:
            both.set()
            await asyncio.sleep(0)
            await asyncio.sleep(60)
            return None

        async def give_up(result: str) -> None:
            given_up.append(result)

        winner = await race([named("a"), named("b"), last], 0.01, give_up)

        assert {winner, *given_up} == {"a", "b"}


class TestLoad:
    def test_engines_are_added_up(self) -> None:
        assert Load.parse(VLLM) == Load(running=4.0, waiting=8.0)
        assert Load(4.0, 8.0).rounds_ahead == 2.0
        assert Load(0.0, 0.0).rounds_ahead == 0.0

    def test_other_servers_metrics_are_none(self) -> None:
        assert Load.parse("go_goroutines 12\n") is None

    def test_a_queue_moves_a_policy_that_prices_time(self) -> None:
        prices = {"small": 1.0, "large": 1.1}
        pool = Pool.parse(
            {
                "candidates": [
                    {
                        "name": name,
                        "model": "m",
                        "backend": name,
                        "price": {"usd_per_mtok_in": price, "usd_per_mtok_out": price},
                        "context_tokens": 1024,
                        "latency": {"first_token_s": 0.1},
                    }
                    for name, price in prices.items()
                ],
                "backends": {name: {"kind": "openai", "url": "http://127.0.0.1:9/v1"} for name in prices},
                "scout": {"model": "./scout"},
                "policy": {"rule": "utility", "value_usd": 0.0, "latency_usd_per_s": 1.0},
            },
            folder=Path("/nowhere"),
        )
        router = router_of(pool)

        assert router.decide("easy").candidate == "small"
        assert router.decide("easy", queue_s={"small": 0.5}).candidate == "large"
        assert router.decide("easy", queue_s={"small": 0.5, "large": 2.0}).candidate == "small"
