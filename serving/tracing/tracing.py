"""One gateway's traces: a span for each request, its decision, the scout's reading, every call to a backend.

Where they go and which are kept is said by OpenTelemetry's own environment variables: OTEL_EXPORTER_OTLP_*,
OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_BSP_*, OTEL_SDK_DISABLED.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Mapping

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, get_current_span
from starlette.types import ASGIApp

from router.configuration.pool import Pool
from router.decisions.decision import Decision
from serving.backends.base import Backend
from serving.flow.record import Exchange
from serving.http.protocol import Query
from serving.scout import Scout
from serving.settings import TracingSettings
from serving.tracing import names
from serving.tracing.asking import TracedBackend
from serving.tracing.door import TraceDoor
from serving.tracing.reading import DECIDING, TracedScout

CLOSE_WAIT_S = 3.0


class Tracing:
    """Makes spans and sends them away in the background; an `Observer` and a `Service`.

    Parameters
    ----------
    settings
        What stands in the pool file.
    """

    def __init__(self, settings: TracingSettings) -> None:
        self._settings = settings
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._exporter = OTLPSpanExporter(endpoint=settings.endpoint)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("foresight", schema_url=names.SCHEMA)

    async def start(self) -> None:
        """Nothing to begin: the sender sleeps until there are spans."""

    async def close(self) -> None:
        """Send what is left; a receiver that is away is not waited for longer than `CLOSE_WAIT_S`."""
        await asyncio.to_thread(self._finish)

    def door(self, app: ASGIApp) -> ASGIApp:
        """The application, each of whose requests is a span."""
        return TraceDoor(app, self._tracer)

    def scout(self, scout: Scout | None) -> Scout | None:
        """The scout, whose readings are spans."""
        return None if scout is None else TracedScout(scout, self._tracer)

    def asked(self, backends: Mapping[str, Backend], pool: Pool) -> dict[str, Backend]:
        """The backends, whose calls are spans."""
        prompts = self._settings.prompts
        return {
            name: TracedBackend(name, pool.backends[name].kind, backend, self._tracer, prompts=prompts)
            for name, backend in backends.items()
        }

    def decided(self, decision: Decision, seconds: float, query: Query) -> None:
        """End the span of the decision; one that read nothing gets its span now."""
        request, span = get_current_span(), DECIDING.get()
        if span is None:
            if not request.is_recording():
                return
            span = self._tracer.start_span("decide", start_time=time.time_ns() - round(1e9 * seconds))
        else:
            DECIDING.set(None)
        if span.is_recording():
            _describe(span, decision)
        span.end()
        if request.is_recording():
            request.set_attributes({names.REQUEST_MODEL: query.model, names.REQUEST_ID: query.request_id})
            if query.key_id is not None:
                request.set_attribute(names.KEY, query.key_id)

    def finished(self, exchange: Exchange) -> None:
        """Say in the request's span what became of it."""
        span = get_current_span()
        if not span.is_recording():
            return
        span.set_attribute(names.OPERATION, names.OPERATIONS[exchange.endpoint])
        told = {
            names.CANDIDATE: exchange.candidate,
            names.COST: exchange.cost_usd,
            names.FIRST_BYTE: exchange.first_byte_s,
            names.INPUT_TOKENS: None if exchange.tokens is None else exchange.tokens.input,
            names.OUTPUT_TOKENS: None if exchange.tokens is None else exchange.tokens.output,
            names.ERROR: None if exchange.finish == "ok" else exchange.finish,
        }
        span.set_attributes({name: value for name, value in told.items() if value is not None})

    def _finish(self) -> None:
        alarm = threading.Timer(CLOSE_WAIT_S, self._exporter.shutdown)
        alarm.start()
        try:
            self._provider.shutdown()
        finally:
            alarm.cancel()
            alarm.join()


def _describe(span: Span, decision: Decision) -> None:
    chosen = decision.candidate
    told = {
        names.CHOSEN: chosen,
        names.DECISION: decision.id,
        names.POLICY: decision.policy,
        names.REASON: decision.reason,
        names.SUCCESS: decision.success.get(chosen),
        names.EXPECTED_COST: decision.expected_cost_usd.get(chosen),
        names.NOVELTY: decision.novelty,
        names.NOVEL: decision.novel,
    }
    span.set_attributes({name: value for name, value in told.items() if value is not None})


def _resource() -> Resource:
    """The environment's word, and our name where it gives none."""
    more = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in more
    return Resource.create({} if named else {SERVICE_NAME: "foresight"})
