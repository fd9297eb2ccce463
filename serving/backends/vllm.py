"""A vLLM server that the gateway starts, watches and stops; candidates of one model share it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from probes.errors import ForesightError
from serving.backends.base import Call, Health, Reply, State
from serving.backends.openai import OpenAIBackend
from serving.http.errors import BackendFailure
from serving.vllm.process import VllmServer

logger = logging.getLogger("foresight.backends")

WATCH_S = 0.5
"""How often it is looked whether a server still runs."""
LONGEST_REST_S = 60.0


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
    rest_s
        Time from its end to a new start, in seconds; it doubles with each start that fails, up to a minute.
    """

    def __init__(
        self,
        name: str,
        make_server: Callable[[], VllmServer],
        *,
        connect_timeout_s: float = 3.0,
        rest_s: float = 1.0,
    ) -> None:
        self.name = name
        self._make_server = make_server
        self._connect_timeout_s = connect_timeout_s
        self._server: VllmServer | None = None
        self._client: OpenAIBackend | None = None
        self._rest_s = rest_s
        self._keeper: asyncio.Task[None] | None = None

    @property
    def url(self) -> str | None:
        """Base URL of the server, without `/v1`; None before it is ready."""
        return None if self._server is None or self._client is None else self._server.url

    async def start(self) -> None:
        """Start the process and wait until it answers; `BackendError` tells why it does not.

        From then on, a server that ends by itself is started again.
        """
        await self._bring_up()
        self._keeper = asyncio.create_task(self._keep_up(), name=f"keep-{self.name}")

    async def _bring_up(self) -> None:
        self._server = await asyncio.to_thread(self._make_server)
        await self._server.start()
        client = OpenAIBackend(self.name, f"{self._server.url}/v1", connect_timeout_s=self._connect_timeout_s)
        await client.start()
        self._client = client

    async def close(self) -> None:
        """Close the connections and stop the process."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        await self._take_down()

    async def _take_down(self) -> None:
        client, self._client = self._client, None
        server, self._server = self._server, None
        if client is not None:
            await client.close()
        if server is not None:
            await server.stop()

    async def health(self) -> Health:
        """Down while the process has ended; starting until it answers."""
        if self._server is None:
            return Health(State.DOWN, "not started" if self._keeper is None else "the vLLM process has ended")
        if not self._server.running:
            return Health(State.DOWN, "the vLLM process has ended; its log says why")
        return Health(State.STARTING) if self._client is None else await self._client.health()

    async def _keep_up(self) -> None:
        """Start the server again whenever it has ended, for ever."""
        rest_s = self._rest_s
        while True:
            await asyncio.sleep(WATCH_S)
            if self._server is not None and self._server.running:
                continue
            logger.error("the vLLM server of backend %s has ended; it is started again", self.name)
            self._keep_log()
            await self._take_down()
            await asyncio.sleep(rest_s)
            try:
                await self._bring_up()
            except ForesightError as error:
                logger.error("backend %s cannot start again: %s", self.name, error.message)
                rest_s = min(2 * rest_s, LONGEST_REST_S)
            else:
                rest_s = self._rest_s

    def _keep_log(self) -> None:
        """Put the log aside that says why the server has ended: the next one begins its own."""
        if self._server is not None:
            log = self._server.log_path
            with suppress(OSError):
                log.rename(log.with_name(f"{log.stem}-before{log.suffix}"))

    async def ask(self, call: Call) -> Reply:
        """Relay the call to the server."""
        if self._client is None:
            raise BackendFailure("starting", f"Backend {self.name} is still starting")
        return await self._client.ask(call)
