"""Who answered the earlier turns of a conversation, and holds them in its prefix cache."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from router.configuration.pool import Pool
from router.decisions.decision import Decision
from serving.flow.record import Exchange
from serving.http.protocol import Query

HELD_S = 300.0
"""How long a server is expected to hold a conversation that nobody goes on with: several providers' time."""
MOST = 10_000
"""Conversations that are remembered."""


class Prefixes:
    """Remembers conversations by a hash of their messages; an `Observer`. Keeps no text.

    Parameters
    ----------
    pool
        Candidates of one model at one backend share its cache.
    elapsed_s
        Seconds since some fixed moment.
    """

    def __init__(self, pool: Pool, elapsed_s: Callable[[], float]) -> None:
        self._elapsed_s = elapsed_s
        self._held: OrderedDict[str, tuple[float, str, int]] = OrderedDict()
        self._asked: OrderedDict[str, str] = OrderedDict()
        self.follow(pool)

    def follow(self, pool: Pool) -> None:
        """Go on with another pool; what its backends hold stays as it is."""
        self._homes = {c.name: (c.backend, c.model) for c in pool.candidates}

    @staticmethod
    def matter(pool: Pool) -> bool:
        """Whether a candidate has a price of its own for cached tokens; else nobody need remember."""
        return any(candidate.price.usd_per_mtok_cached is not None for candidate in pool.candidates)

    def cached_tokens(self, query: Query) -> Mapping[str, int]:
        """Tokens of this prompt that candidates are expected to hold, by name."""
        earlier = _earlier(query.body.get("messages"))
        found = None if earlier is None else self._held.get(_hash(earlier))
        if found is None or self._elapsed_s() - found[0] > HELD_S:
            return {}
        _, candidate, tokens = found
        home = self._homes.get(candidate)
        return {name: tokens for name, other in self._homes.items() if other == home}

    def decided(self, decision: Decision, seconds: float, query: Query) -> None:
        """Note which messages this decision is about."""
        messages = query.body.get("messages")
        if isinstance(messages, list):
            _put(self._asked, decision.id, _hash(messages))

    def finished(self, exchange: Exchange) -> None:
        """The candidate that has answered now holds prompt and answer."""
        asked = self._asked.pop(exchange.decision.id, None)
        if asked is not None and exchange.candidate is not None and exchange.tokens is not None:
            held = exchange.tokens.input + exchange.tokens.output
            _put(self._held, asked, (self._elapsed_s(), exchange.candidate, held))


def _earlier(messages: Any) -> Sequence[Any] | None:
    """The messages that the last answer in the conversation was given to; None in a first turn."""
    if not isinstance(messages, list):
        return None
    roles = [message.get("role") if isinstance(message, dict) else None for message in messages]
    if "assistant" not in roles:
        return None
    return messages[: len(roles) - 1 - roles[::-1].index("assistant")]


def _hash(messages: Sequence[Any]) -> str:
    text = json.dumps(messages, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _put(memory: OrderedDict[str, Any], key: str, value: Any) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > MOST:
        memory.popitem(last=False)
