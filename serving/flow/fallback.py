"""A scout with another behind it, which is made only when it is needed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from probes.encoders.conversation import Conversation, Tools
from probes.encoders.encoder import Activations
from probes.errors import ForesightError, UsageError
from router.router import Router
from serving.scout import Projected, Prospect, Scout

logger = logging.getLogger("foresight.scout")


class FallbackScout:
    """Reads with the first scout, and with the second what the first cannot read.

    Parameters
    ----------
    first
        Asked as long as it gets ready.
    make_second
        Makes the other one; called in a thread, at most once, when the first one fails.
    """

    def __init__(self, first: Scout, make_second: Callable[[], Scout]) -> None:
        self._first = first
        self._make_second = make_second
        self._second: asyncio.Task[Scout] | None = None
        self._lost: str | None = None

    async def start(self) -> None:
        """Start the first scout."""
        await self._first.start()

    async def ready(self) -> None:
        """Wait for the first scout, or, if it will never be ready, for the second."""
        try:
            await self._first.ready()
        except ForesightError as error:
            self._lost = error.message
            logger.warning("the scout cannot work and is replaced by a local one: %s", error.message)
            await self._start_second()

    async def close(self) -> None:
        """Stop both."""
        await self._first.close()
        second, self._second = self._second, None
        if second is not None:
            for scout in await asyncio.gather(second, return_exceptions=True):
                if not isinstance(scout, BaseException):
                    await scout.close()

    def status(self) -> dict[str, Any]:
        """The scout that reads now."""
        if self._lost is None:
            return self._first.status()
        return {"scout": "local", "state": "fallback", "detail": self._lost}

    def use(self, router: Router) -> None:
        """Tell the first scout; a local one need not know."""
        self._first.use(router)

    async def read(
        self, conversation: Conversation, tools: Tools | None = None, prospect: Prospect | None = None
    ) -> Activations | Projected:
        """Read with the first scout that can."""
        if self._lost is None:
            try:
                return await self._first.read(conversation, tools, prospect)
            except UsageError:
                raise
            except ForesightError as error:
                if self._first.status()["state"] == "starting":
                    raise  # it will be there in a moment: no reason to load another one for good
                logger.info("the local scout reads a query in the first one's place: %s", error.message)
        second = await self._start_second()
        return await second.read(conversation, tools, prospect)

    async def _start_second(self) -> Scout:
        if self._second is None:
            self._second = asyncio.create_task(self._make(), name="fallback-scout")
        return await asyncio.shield(self._second)  # whoever gives up waiting does not undo it for the next

    async def _make(self) -> Scout:
        second = await asyncio.to_thread(self._make_second)
        await second.start()
        return second
