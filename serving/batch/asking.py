"""Asks candidates through the gateway's dispatcher: the same backends and breakers, more patience."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from probes.errors import BackendError
from router.configuration.pool import Pool
from serving.backends.base import Backend
from serving.batch.running.reply import Reply
from serving.flow.sending.dispatch import Dispatcher
from serving.http.protocol import Query
from serving.settings import GatewaySettings

PATIENT = {"retries": 8, "retry_first_s": 0.25, "retry_max_s": 30.0, "max_attempts": 1}
"""A batch waits for a backend that is overloaded (429, `Retry-After`) rather than pay a dearer one."""


class DispatchAsker:
    """Asks the chosen candidate only: another one has another price.

    Parameters
    ----------
    pool
        The candidates.
    backends
        Started; by their name in the pool.
    settings
        Timeouts; retries are a batch's own.
    """

    def __init__(self, pool: Pool, backends: Mapping[str, Backend], settings: GatewaySettings) -> None:
        self._pool = pool
        self._dispatcher = Dispatcher(backends, settings.model_copy(update=PATIENT))

    async def ask(self, query: Query, candidate: str) -> Reply:
        """The whole answer; `ApiError` if the client is at fault or patience is at its end."""
        whole = replace(query, body={name: value for name, value in query.body.items() if name != "stream"})
        answer = await self._dispatcher.open(whole, [self._pool[candidate]])
        usage = answer.parsed.get("usage") or {}
        counts = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if not all(isinstance(count, int) for count in counts):
            raise BackendError(
                f"{candidate} answered without `usage`: what it costs is not known.",
                param=candidate,
                hint="A batch counts money by the backend's token counts; use a backend that reports them.",
            )
        return Reply(dict(answer.parsed), int(counts[0] or 0), int(counts[1] or 0))
