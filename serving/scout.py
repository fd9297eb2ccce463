"""What a scout is to the gateway, and the one in this process: many requests, one encoder, one thread.

Requests that arrive while the encoder is busy wait together and are encoded as one batch, so that throughput
grows with load and a lone request waits for nobody (but for `window_s`, to meet others that arrive with it).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from probes.encoders.conversation import Conversation, Tools
from probes.encoders.encoder import Activations, Encoder
from probes.errors import BackendError
from probes.scoring.scores import Projection
from router.decisions.eligibility import Requirements
from router.router import Router
from serving.http.protocol import Query


@dataclass(frozen=True)
class Prospect:
    """A query that will be answered as soon as it is decided, so that a scout may begin with an answer.

    Attributes
    ----------
    query
        As the client sent it.
    requirements
        What a candidate must be able to do.
    policy
        Who decides; empty for the router's own choice.
    """

    query: Query
    requirements: Requirements
    policy: str = ""


@dataclass(frozen=True, eq=False)
class Projected:
    """One query whose activations stayed where they were read; what the scorer needs of them is here.

    Attributes
    ----------
    projection
        Of one query.
    n_tokens
        Length of the prompt.
    settle
        To be told who was chosen (None: nobody): an answer that has begun goes on, or is given up.
    """

    projection: Projection
    n_tokens: int
    settle: Callable[[str | None], None]


class Scout(Protocol):
    """Reads one query at a time."""

    async def start(self) -> None:
        """Begin to get ready; does not wait for other processes."""
        ...

    async def ready(self) -> None:
        """Wait until queries can be read; an error if they never will be."""
        ...

    async def close(self) -> None:
        """Stop; queries that still wait fail."""
        ...

    def status(self) -> dict[str, Any]:
        """For `GET /ready`: the kind of scout, and how it is."""
        ...

    def use(self, router: Router) -> None:
        """Work for another router of the same scout from now on."""
        ...

    async def read(
        self, conversation: Conversation, tools: Tools | None = None, prospect: Prospect | None = None
    ) -> Activations | Projected:
        """What can be known of one query (n = 1); whatever goes wrong is raised, the caller fails open."""
        ...


@dataclass(frozen=True)
class _Waiting:
    conversation: Conversation
    tools: Tools | None
    result: asyncio.Future[Activations]


class LocalScout:
    """Micro-batches concurrent queries for an in-process encoder.

    Parameters
    ----------
    encoder
        Used from one worker thread only.
    max_batch
        Most queries of one batch.
    window_s
        How long a batch that is not full waits for more, in seconds.
    """

    def __init__(self, encoder: Encoder, *, max_batch: int = 16, window_s: float = 0.001) -> None:
        self._encoder = encoder
        self._max_batch = max_batch
        self._window_s = window_s
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="scout")
        self._worker: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start to take queries."""
        self._worker = asyncio.create_task(self._work(), name="scout")

    async def ready(self) -> None:
        """The encoder was loaded before."""

    def status(self) -> dict[str, Any]:
        """Always ready."""
        return {"scout": "local", "state": "ready"}

    def use(self, router: Router) -> None:
        """Nothing to do: activations are scored elsewhere."""

    async def close(self) -> None:
        """Stop; what still waits fails."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
        while not self._queue.empty():
            _fail(self._queue.get_nowait(), BackendError("The scout is stopping"))
        await asyncio.to_thread(self._thread.shutdown, True, cancel_futures=True)

    async def read(
        self, conversation: Conversation, tools: Tools | None = None, prospect: Prospect | None = None
    ) -> Activations:
        """Activations of one query (n = 1)."""
        if self._worker is None:
            raise BackendError("The scout is not started")
        waiting = _Waiting(conversation, tools or None, asyncio.get_running_loop().create_future())
        self._queue.put_nowait(waiting)
        return await waiting.result

    async def _work(self) -> None:
        while True:
            batch = await self._collect()
            try:
                await self._encode(batch)
            finally:
                for waiting in batch:
                    _fail(waiting, BackendError("The scout is stopping"))

    async def _collect(self) -> list[_Waiting]:
        """The next batch: at least one query, at most `max_batch`; those given up meanwhile are left out."""
        batch = [await self._queue.get()]
        if self._queue.empty() and self._window_s > 0:
            await asyncio.sleep(self._window_s)
        while len(batch) < self._max_batch and not self._queue.empty():
            batch.append(self._queue.get_nowait())
        return [waiting for waiting in batch if not waiting.result.done()]

    async def _encode(self, batch: Sequence[_Waiting]) -> None:
        """Encode a batch, once for each set of tools in it (tools are part of what the scout reads)."""
        by_tools: dict[str, list[_Waiting]] = {}
        for waiting in batch:
            by_tools.setdefault(json.dumps(waiting.tools, sort_keys=True), []).append(waiting)
        loop = asyncio.get_running_loop()
        for group in by_tools.values():
            try:
                activations = await loop.run_in_executor(self._thread, self._encode_group, group)
            except Exception as error:  # an encoder may raise anything; each query must hear of it
                await self._one_by_one(group, error)
            else:
                for row, waiting in enumerate(group):
                    if not waiting.result.done():
                        waiting.result.set_result(activations.take([row]))

    async def _one_by_one(self, group: Sequence[_Waiting], error: Exception) -> None:
        """One bad query must not take its company down with it."""
        if len(group) == 1:
            _fail(group[0], error)
            return
        for waiting in group:
            await self._encode([waiting])

    def _encode_group(self, group: Sequence[_Waiting]) -> Activations:
        return self._encoder.encode([waiting.conversation for waiting in group], tools=group[0].tools)


def _fail(waiting: _Waiting, error: Exception) -> None:
    if not waiting.result.done():
        waiting.result.set_exception(error)
