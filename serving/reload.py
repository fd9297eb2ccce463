"""Another pool or another router, without a restart and without losing a request.

What is unchanged goes on: the scout, and every backend whose entry in the pool file is the same. New backends
are started first; then one step lets new requests see the new pool; old backends stop when their last request
is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from probes.errors import ConfigError, ForesightError
from router.configuration.pool import Pool
from router.router import Router
from serving.backends.base import Backend
from serving.fleet import Fleet
from serving.flow.gateway import Gateway
from serving.flow.sending.dispatch import Dispatcher
from serving.ledger.ledger import Deployment

logger = logging.getLogger("foresight.reload")

POLL_S = 0.05


class Reloader:
    """Reads pool and router again when it is asked to.

    Parameters
    ----------
    gateway
        A gateway that runs.
    load
        Reads both; called in a thread.
    make
        Makes the backends of a pool, not yet started.
    """

    def __init__(
        self,
        gateway: Gateway,
        load: Callable[[], tuple[Pool, Router]],
        make: Callable[[Pool], dict[str, Backend]],
    ) -> None:
        self._gateway = gateway
        self._load = load
        self._make = make
        self._wanted = False
        self._task: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    def request(self) -> None:
        """Reload soon, and once more if this is asked while a reload is under way; returns at once."""
        self._wanted = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="reload")

    async def close(self) -> None:
        """Stop what is under way; backends that nobody uses any more are closed now."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)

    async def reload(self) -> None:
        """Reload now.

        Raises
        ------
        ForesightError
            If the new configuration cannot be served; the old one goes on.
        """
        pool, router = await asyncio.to_thread(self._load)
        gateway, old = self._gateway, self._gateway.fleet
        check(gateway.pool, pool, gateway.settings.scout_mode)
        kept = unchanged(gateway.pool, pool, old.backends)
        fresh = [name for name in pool.backends if name not in kept]
        some = pool.model_copy(update={"backends": {name: pool.backends[name] for name in fresh}})
        fleet = old.changed({**kept, **self._make(some)})
        try:
            await fleet.start()
            await fleet.ready()
            dispatcher = await gateway.use(pool, router, fleet)
            if gateway.ledger is not None:
                gateway.ledger.deployment = Deployment.of(pool, router)
        except BaseException:
            await fleet.leave(old)
            raise
        leaving = asyncio.create_task(self._leave(dispatcher, old, fleet), name="leave")
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def _work(self) -> None:
        while self._wanted:
            self._wanted = False
            try:
                await self.reload()
            except ForesightError as error:
                logger.error("nothing was reloaded: %s %s", error.message, error.hint or "")
            except Exception:
                logger.exception("nothing was reloaded")
            else:
                logger.warning("pool and router were reloaded")

    async def _leave(self, dispatcher: Dispatcher, old: Fleet, new: Fleet) -> None:
        try:
            async with asyncio.timeout(self._gateway.settings.request_timeout_s):
                while dispatcher.in_flight:
                    await asyncio.sleep(POLL_S)
            await asyncio.sleep(POLL_S)  # a stream's last bytes are still on their way
        except TimeoutError:
            logger.warning("requests of the old pool are still under way and are cut off")
        finally:
            await old.leave(new)


def check(before: Pool, after: Pool, mode: str | None) -> None:
    """Refuse what only a restart can change; `ConfigError` names the field."""
    hint = "Restart the gateway, or undo this change."
    if before.scout.model_copy(update={"safe_candidate": None}) != after.scout.model_copy(
        update={"safe_candidate": None}
    ):
        raise ConfigError("The scout cannot be changed while the gateway runs", param="scout", hint=hint)
    if (mode or after.scout.mode) != "engine":
        return
    for name, entry in before.backends.items():
        hosts = entry.kind == "vllm" and entry.model_path == before.scout.model
        if hosts and name not in unchanged(before, after, {name: None}):
            message = f"Backend {name} holds the scout and cannot be changed while the gateway runs"
            raise ConfigError(message, param=f"backends.{name}", hint=hint)


def unchanged(before: Pool, after: Pool, running: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the running backends that serve the new pool as they are."""
    return {
        name: backend
        for name, backend in running.items()
        if after.backends.get(name) == before.backends.get(name)
        and _models(after, name) == _models(before, name)
        and _models(after, name)
    }


def _models(pool: Pool, backend: str) -> set[str]:
    return {candidate.model for candidate in pool.candidates if candidate.backend == backend}
