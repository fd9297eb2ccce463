"""A backend whose calls are spans, and who is told which trace they belong to."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from serving.backends.base import Backend, Call, Health, Reply
from serving.http.errors import BackendFailure
from serving.tracing import names

LONGEST_PROMPT = 64 << 10
"""Characters of a prompt in a span; longer prompts are left out."""
OVERLAP = 512
"""Bytes that are looked at again with the next chunk, for what was cut in two."""
_PROPAGATOR = TraceContextTextMapPropagator()
_INPUT, _OUTPUT = re.compile(rb'"prompt_tokens":\s*(\d+)'), re.compile(rb'"completion_tokens":\s*(\d+)')
_FINISH = re.compile(rb'"finish_reason":\s*"(\w{1,40})"')
_MODEL, _ID = re.compile(rb'"model":\s*"([^"\\]{1,200})"'), re.compile(rb'"id":\s*"([\w.:-]{1,200})"')


class TracedBackend:
    """A backend, seen from outside.

    Parameters
    ----------
    name
        In the pool.
    provider
        Who serves: the kind of the backend.
    backend
        Does the work.
    tracer
        Makes the spans.
    prompts
        Whether they hold prompts.
    """

    def __init__(self, name: str, provider: str, backend: Backend, tracer: Tracer, *, prompts: bool) -> None:
        self._backend = backend
        self._tracer = tracer
        self._prompts = prompts
        self._shared: dict[str, Any] = {names.BACKEND: name, names.PROVIDER: provider}

    async def start(self) -> None:
        """Start the backend."""
        await self._backend.start()

    async def close(self) -> None:
        """Stop the backend."""
        await self._backend.close()

    async def health(self) -> Health:
        """The backend's."""
        return await self._backend.health()

    async def ask(self, call: Call) -> Reply:
        """Ask the backend inside of a span that ends with the reply."""
        operation, model = names.OPERATIONS[call.endpoint], str(call.body.get("model", ""))
        span = self._tracer.start_span(f"{operation} {model}".strip(), kind=SpanKind.CLIENT)
        headers: dict[str, str] = {}
        _PROPAGATOR.inject(headers, set_span_in_context(span))
        told = replace(call, headers={**call.headers, **headers})
        if not span.is_recording():
            return await self._backend.ask(told)
        span.set_attributes({names.OPERATION: operation, **self._shared, **self._asked(call)})
        try:
            return TracedReply(await self._backend.ask(told), span)
        except BaseException as error:
            _fail(span, error)
            span.end()
            raise

    def _asked(self, call: Call) -> dict[str, Any]:
        body = call.body
        told: dict[str, Any] = {names.REQUEST_MODEL: str(body.get("model", ""))}
        for field, name in names.REQUEST.items():
            if isinstance(value := body.get(field), int | float) and not isinstance(value, bool):
                told[name] = value
        if isinstance(form := body.get("response_format"), Mapping) and "json" in str(form.get("type")):
            told[names.OUTPUT_TYPE] = "json"
        if url := getattr(self._backend, "url", None):
            place = urlsplit(url)
            told |= {names.ADDRESS: place.hostname or "", names.PORT: place.port or 80}
        if self._prompts and (said := _messages(body)) is not None:
            told[names.INPUT_MESSAGES] = said
        return told


class TracedReply:
    """A reply that writes down what it says about itself."""

    def __init__(self, reply: Reply, span: Span) -> None:
        self._reply = reply
        self._span = span
        if reply.status != 200:
            span.set_attribute(names.ERROR, str(reply.status))
            span.set_status(Status(StatusCode.ERROR))

    @property
    def status(self) -> int:
        """The upstream status."""
        return self._reply.status

    async def read(self, limit: int) -> bytes:
        """The whole body."""
        try:
            body = await self._reply.read(limit)
        except BaseException as error:
            _fail(self._span, error)
            raise
        self._note(body)
        return body

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives."""
        rest, first = b"", True
        try:
            async for chunk in self._reply.chunks():
                rest += chunk
                if first or b'"usage"' in rest or b"finish_reason" in rest:
                    self._note(rest)
                    first = False
                rest = rest[-OVERLAP:]
                yield chunk
        except BackendFailure as error:
            _fail(self._span, error)
            raise

    async def aclose(self) -> None:
        """Give up the rest; the span is over."""
        try:
            await self._reply.aclose()
        finally:
            self._span.end()

    def _note(self, text: bytes) -> None:
        for pattern, name in ((_INPUT, names.INPUT_TOKENS), (_OUTPUT, names.OUTPUT_TOKENS)):
            if found := pattern.search(text):
                self._span.set_attribute(name, int(found[1]))
        for pattern, name in ((_MODEL, names.RESPONSE_MODEL), (_ID, names.RESPONSE_ID)):
            if found := pattern.search(text):
                self._span.set_attribute(name, found[1].decode("utf-8", "replace"))
        if reasons := _FINISH.findall(text):
            self._span.set_attribute(names.FINISH_REASONS, [reason.decode() for reason in reasons])


def _fail(span: Span, error: BaseException) -> None:
    """Say what kind of failure it was; its words may hold what a client wrote, and stay out."""
    kind = error.kind if isinstance(error, BackendFailure) else type(error).__name__
    span.set_attribute(names.ERROR, kind)
    span.set_status(Status(StatusCode.ERROR))


def _messages(body: Mapping[str, Any]) -> str | None:
    """The prompt in the conventions' form; None if it is too long."""
    said = body.get("messages") or [{"role": "user", "content": body.get("prompt")}]
    told = [{"role": one.get("role"), "parts": _parts(one.get("content"))} for one in said]
    text = json.dumps(told, ensure_ascii=False)
    return text if len(text) <= LONGEST_PROMPT else None


def _parts(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "content": content}]
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, Mapping)]
    return [{"type": "text", "content": text} for text in texts if isinstance(text, str)]
