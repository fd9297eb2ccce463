"""The backends of a pool as one thing: start together, know who is up, leave nothing behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from probes.errors import BackendError, ForesightError
from serving.backends.base import Backend, Health, State

logger = logging.getLogger("foresight.fleet")


class Fleet:
    """Starts backends in the background and keeps book of them.

    Parameters
    ----------
    backends
        Backends by their name in the pool; not yet started.
    """

    def __init__(self, backends: Mapping[str, Backend]) -> None:
        self.backends = dict(backends)
        self._starting: dict[str, asyncio.Task[None]] = {}

    def changed(self, backends: Mapping[str, Backend]) -> Fleet:
        """A fleet of these backends; those that are here as well go on as they are."""
        other = Fleet(backends)
        for name, backend in self.backends.items():
            if other.backends.get(name) is backend and name in self._starting:
                other._starting[name] = self._starting[name]
        return other

    async def leave(self, successor: Fleet) -> None:
        """Stop the backends that the successor does not have."""
        for name, backend in list(self.backends.items()):
            if successor.backends.get(name) is backend:
                del self.backends[name]
                self._starting.pop(name, None)
        await self.close()

    async def start(self) -> None:
        """Begin to start all backends at once; does not wait for them."""
        for name, backend in self.backends.items():
            if name in self._starting:
                continue
            self._starting[name] = asyncio.create_task(self._start(name, backend), name=f"start-{name}")

    async def ready(self) -> None:
        """Wait until every backend is up.

        Raises
        ------
        BackendError
            As soon as one of them cannot be started.
        """
        if not self._starting:
            return
        done, _ = await asyncio.wait(self._starting.values(), return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()

    async def close(self) -> None:
        """Stop all backends, also those that are still starting."""
        for task in self._starting.values():
            task.cancel()
        await asyncio.gather(*self._starting.values(), return_exceptions=True)
        stopped = await asyncio.gather(*(b.close() for b in self.backends.values()), return_exceptions=True)
        for name, result in zip(self.backends, stopped, strict=True):
            if isinstance(result, BaseException):
                logger.warning("backend %s did not stop cleanly: %s", name, type(result).__name__)
        self._starting.clear()

    async def health(self) -> dict[str, Health]:
        """Every backend's state, asked at the same time."""
        states = await asyncio.gather(*(self._health(name) for name in self.backends))
        return dict(zip(self.backends, states, strict=True))

    async def _start(self, name: str, backend: Backend) -> None:
        try:
            await backend.start()
        except ForesightError as error:
            logger.error("backend %s cannot start: %s", name, error.message)
            raise
        except Exception as error:
            logger.exception("backend %s cannot start", name)
            raise BackendError(f"Backend {name} cannot start ({type(error).__name__})") from error

    async def _health(self, name: str) -> Health:
        task = self._starting.get(name)
        if task is None:
            return Health(State.DOWN, "not started")
        if not task.done():
            return Health(State.STARTING)
        if task.cancelled():
            return Health(State.DOWN, "stopped")
        if error := task.exception():
            return Health(
                State.DOWN, error.message.splitlines()[0] if isinstance(error, ForesightError) else "failed"
            )
        return await self.backends[name].health()
