"""Which step of the engine completes which prompt, and where that prompt's tokens lie in the paged cache.

Pure bookkeeping on the scheduler's side. A prompt may take several steps (chunked prefill), begin in the
middle (prefix cache), be thrown out and start again elsewhere (preemption), or vanish (abort).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

_LAST = re.compile(r"last(?:-(\d+))?")


@dataclass(frozen=True)
class Ready:
    """A prompt whose last token is computed in this step.

    Attributes
    ----------
    probe_id
        The key that its numbers are sent under.
    n_tokens
        Length of the prompt.
    features
        Whether the activations themselves are wanted, too.
    slots
        [cache groups][positions]: block number times block size plus offset.
    """

    probe_id: str
    n_tokens: int
    features: bool
    slots: tuple[tuple[int, ...], ...]


@dataclass
class _Watched:
    probe_id: str
    n_tokens: int
    features: bool
    blocks: list[list[int]] | None = None
    done: bool = field(default=False)


class Tracker:
    """Watches requests from their arrival to their prompt's last token.

    Parameters
    ----------
    block_sizes
        Tokens per block of each cache group.
    positions
        `last`, `last-k` or `first`.

    Raises
    ------
    ValueError
        If a position cannot be read from a cache.
    """

    def __init__(self, block_sizes: Sequence[int], positions: Sequence[str]) -> None:
        self._block_sizes = tuple(block_sizes)
        self._offsets = tuple(_offset(name) for name in positions)
        self._watched: dict[str, _Watched] = {}

    def __len__(self) -> int:
        return len(self._watched)

    def watch(self, request_id: str, probe_id: str, n_tokens: int, features: bool = False) -> None:
        """Begin to watch a request; again for the same request changes nothing."""
        self._watched.setdefault(request_id, _Watched(probe_id, n_tokens, features))

    def forget(self, request_id: str) -> None:
        """The request is over, or was aborted."""
        self._watched.pop(request_id, None)

    def step(self, scheduled: Any) -> list[Ready]:
        """The prompts that vLLM's `SchedulerOutput` completes."""
        ready = []
        for request in scheduled.scheduled_new_reqs:
            if watched := self._open(request.req_id):
                watched.blocks = [list(blocks) for blocks in request.block_ids]
                ready += self._check(request.req_id, watched, request.num_computed_tokens, scheduled)
        cached = scheduled.scheduled_cached_reqs
        for place, request_id in enumerate(cached.req_ids):
            if watched := self._open(request_id):
                self._extend(watched, cached.new_block_ids[place], request_id in cached.resumed_req_ids)
                ready += self._check(request_id, watched, cached.num_computed_tokens[place], scheduled)
        return ready

    def _open(self, request_id: str) -> _Watched | None:
        watched = self._watched.get(request_id)
        return None if watched is None or watched.done else watched

    def _extend(self, watched: _Watched, new: Sequence[Sequence[int]] | None, resumed: bool) -> None:
        """More blocks; after a preemption they are all new ones."""
        if new is None:
            return
        if resumed or watched.blocks is None:
            watched.blocks = [list(blocks) for blocks in new]
        else:
            watched.blocks = [old + list(more) for old, more in zip(watched.blocks, new, strict=True)]

    def _check(self, request_id: str, watched: _Watched, computed: int, scheduled: Any) -> list[Ready]:
        if computed + scheduled.num_scheduled_tokens.get(request_id, 0) < watched.n_tokens:
            return []
        slots = tuple(
            tuple(blocks[token // size] * size + token % size for token in self._tokens(watched.n_tokens))
            for blocks, size in zip(watched.blocks or (), self._block_sizes, strict=True)
        )
        watched.done, watched.blocks = True, None
        return [Ready(watched.probe_id, watched.n_tokens, watched.features, slots)]

    def _tokens(self, n_tokens: int) -> list[int]:
        return [0 if offset is None else max(n_tokens - 1 - offset, 0) for offset in self._offsets]


def _offset(position: str) -> int | None:
    """Tokens before the last one; None for the first token."""
    if position == "first":
        return None
    found = _LAST.fullmatch(position)
    if found is None:
        raise ValueError(f"Position {position!r} cannot be read from a cache; last, last-k and first can.")
    return int(found.group(1) or 0)
