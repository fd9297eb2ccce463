"""The step that completes a prompt is found however vLLM cuts, moves and drops requests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.engine.plugin.tracker import Ready, Tracker

SIZES = (4, 16)


def output(
    scheduled: dict[str, int],
    new: tuple[Any, ...] = (),
    cached: tuple[tuple[str, Any, int], ...] = (),
    resumed: tuple[str, ...] = (),
) -> Any:
    """What vLLM's `SchedulerOutput` looks like to the tracker."""
    return SimpleNamespace(
        num_scheduled_tokens=scheduled,
        scheduled_new_reqs=[
            SimpleNamespace(req_id=name, block_ids=blocks, num_computed_tokens=computed)
            for name, blocks, computed in new
        ],
        scheduled_cached_reqs=SimpleNamespace(
            req_ids=[name for name, _, _ in cached],
            new_block_ids=[blocks for _, blocks, _ in cached],
            num_computed_tokens=[computed for _, _, computed in cached],
            resumed_req_ids=set(resumed),
        ),
    )


def blocks_for(n_tokens: int, first: int) -> tuple[list[int], ...]:
    """Distinct block numbers in each group, enough for so many tokens."""
    return tuple([first + i for i in range(-(-n_tokens // size))] for size in SIZES)


def slot(blocks: list[int], token: int, size: int) -> int:
    return blocks[token // size] * size + token % size


@given(
    n_tokens=st.integers(1, 80),
    cached=st.integers(0, 79),
    chunks=st.lists(st.integers(1, 30), min_size=1, max_size=80),
    preempted_after=st.integers(0, 6),
)
def test_a_prompt_is_ready_once_and_its_last_slot_is_right(
    n_tokens: int, cached: int, chunks: list[int], preempted_after: int
) -> None:
    tracker = Tracker(SIZES, ("last", "last-3", "first"))
    tracker.watch("a", "key", n_tokens)
    computed = min(cached, n_tokens - 1)
    blocks = blocks_for(n_tokens, 100)
    found: list[Ready] = []
    given_blocks = [0, 0]
    for step, size in enumerate([*chunks, 80]):
        if computed >= n_tokens:
            break
        if step and step == preempted_after:  # thrown out: it starts again, in other blocks
            computed, blocks, given_blocks = 0, blocks_for(n_tokens, 500), [0, 0]
        size = min(size, n_tokens - computed)
        needed = [-(-(computed + size) // block) for block in SIZES]
        fresh = tuple(
            table[have:want] for table, have, want in zip(blocks, given_blocks, needed, strict=True)
        )
        given_blocks = needed
        if step == 0:
            told = output({"a": size}, new=(("a", fresh, computed),))
        else:
            resumed = ("a",) if step == preempted_after else ()
            more = fresh if any(fresh) or resumed else None
            told = output({"a": size}, cached=(("a", more, computed),), resumed=resumed)
        found += tracker.step(told)
        computed += size
    found += tracker.step(output({"a": 1}, cached=(("a", None, computed),)))  # it goes on generating
    [ready] = found
    assert (ready.probe_id, ready.n_tokens, ready.features) == ("key", n_tokens, False)
    tokens = (n_tokens - 1, max(n_tokens - 4, 0), 0)
    for table, size, slots in zip(blocks, SIZES, ready.slots, strict=True):
        assert slots == tuple(slot(table, token, size) for token in tokens)


def test_requests_without_a_key_are_nobodys_business() -> None:
    tracker = Tracker(SIZES, ("last",))
    assert tracker.step(output({"b": 5}, new=(("b", blocks_for(5, 1), 0),))) == []
    assert len(tracker) == 0


def test_an_aborted_request_is_forgotten() -> None:
    tracker = Tracker(SIZES, ("last",))
    tracker.watch("a", "key", 10)
    tracker.step(output({"a": 4}, new=(("a", blocks_for(4, 1), 0),)))
    tracker.forget("a")
    tracker.forget("a")
    assert tracker.step(output({"a": 6}, cached=(("a", blocks_for(6, 9), 4),))) == []
    assert len(tracker) == 0


@pytest.mark.parametrize("name", ["mean", "last-", "middle", ""])
def test_positions_that_no_cache_holds_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        Tracker(SIZES, (name,))
