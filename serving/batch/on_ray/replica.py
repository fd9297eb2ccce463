"""One backend of the pool inside a Ray actor: a vLLM server on that machine, or a client of somebody's."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from probes.errors import ForesightError
from router.configuration.pool import Pool
from serving.backends.base import Backend
from serving.backends.registry import make_backends
from serving.batch.asking import DispatchAsker
from serving.batch.running.reply import Reply
from serving.http.errors import ApiError
from serving.http.protocol import Query
from serving.settings import GatewaySettings


@dataclass(frozen=True)
class Refusal:
    """An `ApiError` on its way between processes."""

    status: int
    message: str
    code: str | None

    def error(self) -> ApiError:
        """As it was raised."""
        return ApiError(self.status, self.message, code=self.code)


class Replica:
    """Answers for the candidates of one backend; starts it when it is first asked.

    Parameters
    ----------
    pool
        All candidates.
    backend
        Its name in the pool.
    """

    def __init__(self, pool: Pool, backend: str) -> None:
        self._pool, self._name = pool, backend
        self._settings = GatewaySettings()
        self._logs = tempfile.TemporaryDirectory(prefix="foresight-")
        self._backend: Backend | None = None
        self._asker: DispatchAsker | None = None
        self._starting = asyncio.Lock()

    async def start(self) -> str | None:
        """Start the backend unless it is up; what went wrong, if anything did."""
        async with self._starting:
            if self._asker is not None:
                return None
            try:
                backends = make_backends(self._pool, self._settings, Path(self._logs.name))
                backend = backends[self._name]
                await backend.start()
            except ForesightError as error:
                return error.message
            self._backend = backend
            self._asker = DispatchAsker(self._pool, {self._name: backend}, self._settings)
            return None

    async def ask(self, query: Query, candidate: str) -> Reply | Refusal:
        """The whole answer, or why there is none."""
        failure = await self.start()
        if self._asker is None:
            return Refusal(503, failure or "The backend has not started.", "backend_starting")
        try:
            return await self._asker.ask(query, candidate)
        except ApiError as error:
            return Refusal(error.status, error.message, error.code)
        except ForesightError as error:
            return Refusal(502, error.message, "backend_garbage")

    async def close(self) -> None:
        """Stop the backend."""
        if self._backend is not None:
            await self._backend.close()
        self._logs.cleanup()
