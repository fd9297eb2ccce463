"""Batches of prompts of like length: full, and with little padding."""

from __future__ import annotations

from collections.abc import Sequence

MAX_PADDING = 0.08
"""Largest share of padding tokens in a batch."""


def plan_batches(
    lengths: Sequence[int], token_budget: int, *, max_padding: float = MAX_PADDING
) -> list[list[int]]:
    """Group prompts into batches, longest first.

    Parameters
    ----------
    lengths
        Tokens of each prompt.
    token_budget
        Most tokens of a padded batch; a longer prompt gets a batch of its own.
    max_padding
        Largest share of padding in any batch, in [0, 1).

    Returns
    -------
    list of list of int
        Indices of prompts; each occurs once. Longest first: if memory does not suffice, the first batch
        tells.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batches: list[list[int]] = []
    filled = 0  # tokens of the last batch that are no padding
    for i in order:
        if batches:
            padded = (len(batches[-1]) + 1) * lengths[batches[-1][0]]
            if padded <= token_budget and filled + lengths[i] >= (1 - max_padding) * padded:
                batches[-1].append(i)
                filled += lengths[i]
                continue
        batches.append([i])
        filled = lengths[i]
    return batches


def padding_share(lengths: Sequence[int], batches: Sequence[Sequence[int]]) -> float:
    """Share of padding tokens in a plan, in [0, 1)."""
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    return 1 - sum(lengths) / padded if padded else 0.0
