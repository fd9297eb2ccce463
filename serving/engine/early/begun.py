"""Requests that were sent to a backend before it was decided who answers.

If the decision falls on the same candidate, the dispatcher asks its backend for the very same thing, and is
given the answer that has begun; whoever asks for anything else gets an answer of its own. So a client sees
what it would have seen without all this, whatever was guessed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from typing import Any

from serving.backends.base import Backend, Call, Health, Reply
from serving.engine.early.chores import Chores
from serving.http.errors import BackendFailure

CLAIM_S = 1.0
"""A begun answer that nobody asks for within this time is given up."""
PARAMETERS = "kv_transfer_params"
"""The body field that reaches the engine's connector."""


class Begun:
    """One request on its way.

    Parameters
    ----------
    candidates
        Who would answer with it: all to whom the very same would be sent.
    call
        What the dispatcher would send.
    asking
        The reply, once it begins.
    """

    def __init__(self, candidates: Collection[str], call: Call, asking: asyncio.Task[Reply]) -> None:
        self.candidates = candidates
        self.call = call
        self.asking = asking

    def answers(self, call: Call) -> bool:
        """Whether its answer is exactly the one that is asked for."""
        mine = self.call
        same = (mine.endpoint, mine.stream, mine.request_id) == (call.endpoint, call.stream, call.request_id)
        return same and mine.body == call.body

    async def reply(self) -> Reply:
        """The reply; giving up the wait gives up the request."""
        try:
            return await self.asking
        except asyncio.CancelledError:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Give it up: the backend stops."""
        self.asking.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await (await self.asking).aclose()


class BeginningBackend:
    """A backend whose requests may begin before they are asked for.

    Parameters
    ----------
    backend
        Does the work.
    claim_s
        See `CLAIM_S`.
    """

    def __init__(self, backend: Backend, *, claim_s: float = CLAIM_S) -> None:
        self._backend = backend
        self._claim_s = claim_s
        self._kept: dict[str, Begun] = {}
        self._chores = Chores()

    @property
    def url(self) -> str | None:
        """The backend's own, if it has one."""
        return getattr(self._backend, "url", None)

    async def start(self) -> None:
        """Start the backend."""
        await self._backend.start()

    async def close(self) -> None:
        """Give up everything that was begun, and close the backend."""
        for begun in list(self._kept.values()):
            self.give_up(begun)
        await self._chores.finish()
        await self._backend.close()

    async def health(self) -> Health:
        """The backend's."""
        return await self._backend.health()

    async def ask(self, call: Call) -> Reply:
        """The answer that has begun, if it is this one; otherwise a new one."""
        begun = self._kept.pop(call.request_id, None)
        if begun is not None:
            if begun.answers(call):
                return await begun.reply()
            self.give_up(begun)
        return await self._backend.ask(call)

    def begin(self, candidates: Collection[str], call: Call, probe_id: str) -> Begun:
        """Send a call now, with the engine's key in it."""
        sent = replace(call, body={**call.body, PARAMETERS: {"probe_id": probe_id}})
        return Begun(candidates, call, asyncio.create_task(_ask(self._backend, sent), name="begun"))

    async def ask_once(self, call: Call, probe: dict[str, Any]) -> None:
        """Send a call for its prompt alone and read its answer; `BackendFailure` if it has none."""
        reply = await self._backend.ask(replace(call, body={**call.body, PARAMETERS: probe}))
        try:
            require_accepted(reply)
            await reply.read(1 << 20)
        finally:
            await reply.aclose()

    def keep(self, begun: Begun) -> None:
        """Hold it for the dispatcher, who will ask within moments."""
        older = self._kept.pop(begun.call.request_id, None)
        if older is not None:
            self.give_up(older)
        self._kept[begun.call.request_id] = begun
        asyncio.get_running_loop().call_later(self._claim_s, self._expire, begun)

    def give_up(self, begun: Begun) -> None:
        """Stop it, without waiting for the end."""
        if self._kept.get(begun.call.request_id) is begun:
            del self._kept[begun.call.request_id]
        begun.asking.cancel()
        self._chores.begin(begun.aclose(), "give-up")

    def _expire(self, begun: Begun) -> None:
        if self._kept.get(begun.call.request_id) is begun:
            self.give_up(begun)


def require_accepted(reply: Reply) -> None:
    """`BackendFailure` if the engine will not compute the prompt: it is too long, say, or has images."""
    if reply.status != 200:
        message = f"The engine refused the prompt (status {reply.status})"
        raise BackendFailure("refused", message, status=reply.status)


async def _ask(backend: Backend, call: Call) -> Reply:
    return await backend.ask(call)
