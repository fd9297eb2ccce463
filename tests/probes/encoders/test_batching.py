"""Batches: everything once, within the budget, with little padding."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from probes.encoders.batching import MAX_PADDING, padding_share, plan_batches


@given(st.lists(st.integers(1, 3000), max_size=200), st.integers(1, 5000))
def test_every_prompt_is_in_one_batch_of_little_padding(lengths: list[int], budget: int) -> None:
    batches = plan_batches(lengths, budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[i] for i in batch)
        assert len(batch) == 1 or len(batch) * longest <= budget
        assert padding_share(lengths, [batch]) <= MAX_PADDING + 1e-12
    assert padding_share(lengths, batches) < 0.1


def test_batches_of_real_lengths_are_full() -> None:
    lengths = np.random.default_rng(0).lognormal(5, 0.7, 5000).astype(int) + 1
    batches = plan_batches(list(lengths), 8192)
    assert len(batches) <= 1.1 * lengths.sum() / 8192 + 5
