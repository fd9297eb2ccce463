"""A scout whose reading is a span inside of the decision's."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from opentelemetry.trace import Span, Tracer, set_span_in_context

from probes.encoders.conversation import Conversation, Tools
from probes.encoders.encoder import Activations
from router.router import Router
from serving.scout import Projected, Prospect, Scout

DECIDING: ContextVar[Span | None] = ContextVar("foresight-deciding", default=None)
"""The span of this request's decision, while it is being made."""


class TracedScout:
    """A scout, seen from outside.

    Parameters
    ----------
    scout
        Reads.
    tracer
        Makes the spans.
    """

    def __init__(self, scout: Scout, tracer: Tracer) -> None:
        self._scout = scout
        self._tracer = tracer

    async def start(self) -> None:
        """Start the scout."""
        await self._scout.start()

    async def ready(self) -> None:
        """Wait until the scout reads."""
        await self._scout.ready()

    async def close(self) -> None:
        """Stop the scout."""
        await self._scout.close()

    def status(self) -> dict[str, Any]:
        """The scout's."""
        return self._scout.status()

    def use(self, router: Router) -> None:
        """Work for another router."""
        self._scout.use(router)

    async def read(
        self, conversation: Conversation, tools: Tools | None = None, prospect: Prospect | None = None
    ) -> Activations | Projected:
        """Read inside of a span; the decision begins with it."""
        deciding = self._tracer.start_span("decide")
        DECIDING.set(deciding)
        inside = set_span_in_context(deciding)
        with self._tracer.start_as_current_span("scout", context=inside, record_exception=False):
            return await self._scout.read(conversation, tools, prospect)
