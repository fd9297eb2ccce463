"""A vLLM server that the gateway starts, watches and stops; candidates of one model share it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from serving.backends.base import Call, Health, Reply, State
from serving.backends.openai import OpenAIBackend
from serving.http.errors import BackendFailure
from serving.vllm.process import VllmServer


class ManagedVllm:
    """One managed vLLM process behind the OpenAI protocol.

    Parameters
    ----------
    name
        The backend's name in the pool.
    make_server
        Makes the server, not yet started. Called off the event loop when the backend starts, because finding
        vLLM's environment and a free port takes a moment.
    connect_timeout_s
        As for `OpenAIBackend`.
    """

    def __init__(
        self, name: str, make_server: Callable[[], VllmServer], *, connect_timeout_s: float = 3.0
    ) -> None:
        self.name = name
        self._make_server = make_server
        self._connect_timeout_s = connect_timeout_s
        self._server: VllmServer | None = None
        self._client: OpenAIBackend | None = None

    @property
    def url(self) -> str | None:
        """Base URL of the server, without `/v1`; None before it is ready."""
        return None if self._server is None or self._client is None else self._server.url

    async def start(self) -> None:
        """Start the process and wait until it answers; `BackendError` tells why it does not."""
        self._server = await asyncio.to_thread(self._make_server)
        await self._server.start()
        client = OpenAIBackend(self.name, f"{self._server.url}/v1", connect_timeout_s=self._connect_timeout_s)
        await client.start()
        self._client = client

    async def close(self) -> None:
        """Close the connections and stop the process."""
        client, self._client = self._client, None
        server, self._server = self._server, None
        if client is not None:
            await client.close()
        if server is not None:
            await server.stop()

    async def health(self) -> Health:
        """Down once the process has ended; starting until it has answered once."""
        if self._server is None:
            return Health(State.DOWN, "not started")
        if not self._server.running:
            return Health(State.DOWN, "the vLLM process has ended; its log says why")
        return Health(State.STARTING) if self._client is None else await self._client.health()

    async def ask(self, call: Call) -> Reply:
        """Relay the call to the server."""
        if self._client is None:
            raise BackendFailure("starting", f"Backend {self.name} is still starting")
        return await self._client.ask(call)
