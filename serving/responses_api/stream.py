"""A chat completion's stream as the events of the Responses API.

Order, as OpenAI's clients expect it: the response is created; each output item is added, filled and done; the
response is completed (or incomplete, or failed). Every event carries a number in sequence.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from typing import Any

from serving.flow.sending.relay import Relay
from serving.http.sse import payloads
from serving.responses_api import answer
from serving.responses_api.items import Call, Item, Text, Thought


class ResponseRelay:
    """A relay that speaks the Responses API.

    Parameters
    ----------
    relay
        The chat completion's stream.
    body
        The client's request.
    """

    def __init__(self, relay: Relay, body: Mapping[str, Any]) -> None:
        self._relay = relay
        self._events = ResponseEvents(body)

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """What the client is sent, in blocks of whole events."""
        async with aclosing(self._relay.blocks()) as blocks:
            async for block in blocks:
                told = [event for payload in payloads(block) for event in self._events.of(payload)]
                if b"[DONE]" in block:
                    told += self._events.end()
                if told:
                    yield b"".join(map(encoded, told))

    async def aclose(self) -> None:
        """The stream is over for whatever reason."""
        await self._relay.aclose()


def encoded(event: Mapping[str, Any]) -> bytes:
    """One event on the wire."""
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


class ResponseEvents:
    """Turns chunks of one chat completion into events.

    Parameters
    ----------
    body
        The client's request.
    """

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._body = body
        self._n = 0
        self._response: dict[str, Any] = {}
        self._items: list[Item] = []
        self._reason: str | None = None
        self._usage: Any = None
        self._more: dict[str, Any] = {}
        self._over = False

    def of(self, chunk: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The events of one chunk."""
        if "error" in chunk:
            yield from self._failed(chunk["error"])
            return
        if not self._response:
            self._response = answer.response_object(self._body, str(chunk.get("model", "")))
            for kind in ("response.created", "response.in_progress"):
                yield self._event(kind, response=dict(self._response))
        self._usage = chunk.get("usage") or self._usage
        if "foresight" in chunk:
            self._more = {"foresight": chunk["foresight"]}
        for choice in chunk.get("choices") or ():
            self._reason = choice.get("finish_reason") or self._reason
            yield from self._of_delta(choice.get("delta") or {}, answer.logprobs_of(choice.get("logprobs")))

    def end(self) -> Iterator[dict[str, Any]]:
        """The events that end a stream which went well."""
        if self._over:
            return
        self._over = True
        if not self._items:
            yield from self._switch(Text(len(self._items)))
        yield from self._close_item()
        self._response["output"] = [item.done() for item in self._items]
        response = answer.finished(self._response, self._reason, self._usage) | self._more
        yield self._event(f"response.{response['status']}", response=response)

    def _of_delta(self, delta: Mapping[str, Any], logprobs: list[Any]) -> Iterator[dict[str, Any]]:
        if thought := answer.reasoning_in(delta):
            yield from self._write(Thought, thought, [])
        if text := delta.get("content"):
            yield from self._write(Text, text, logprobs)
        for call in delta.get("tool_calls") or ():
            function = call.get("function") or {}
            last = self._items[-1] if self._items else None
            if not isinstance(last, Call) or last.key != call.get("index"):
                last = Call(len(self._items), call.get("index"), call.get("id"), function.get("name"))
                yield from self._switch(last)
            if arguments := function.get("arguments"):
                yield from self._fill(last, arguments)

    def _write(
        self, kind: type[Text] | type[Thought], text: str, logprobs: list[Any]
    ) -> Iterator[dict[str, Any]]:
        """Go on with the last item if it is of this kind, else begin a new one."""
        if not self._items or not isinstance(self._items[-1], kind):
            yield from self._switch(kind(len(self._items)))
        self._items[-1].logprobs += logprobs
        yield from self._fill(self._items[-1], text, **({"logprobs": logprobs} if kind is Text else {}))

    def _fill(self, item: Item, text: str, **more: Any) -> Iterator[dict[str, Any]]:
        item.text += text
        yield self._event(f"response.{item.name}.delta", **item.place(), delta=text, **more)

    def _switch(self, item: Item) -> Iterator[dict[str, Any]]:
        """End the item before, and begin another."""
        yield from self._close_item()
        self._items.append(item)
        index = {"output_index": item.index}
        yield self._event("response.output_item.added", **index, item=item.begun())
        if item.part("") is not None:
            yield self._event("response.content_part.added", **item.place(), part=item.part(""))

    def _close_item(self) -> Iterator[dict[str, Any]]:
        if not self._items:
            return
        item = self._items[-1]
        yield self._event(f"response.{item.name}.done", **item.place(), **item.summary())
        if item.part(item.text) is not None:
            yield self._event("response.content_part.done", **item.place(), part=item.part(item.text))
        yield self._event("response.output_item.done", output_index=item.index, item=item.done())

    def _failed(self, error: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        self._over = True
        response = self._response or answer.response_object(self._body, "")
        told = {"code": "server_error", "message": str(error.get("message"))}
        failed = {**response, "status": "failed", "error": told}
        yield self._event("response.failed", response=failed)

    def _event(self, kind: str, **fields: Any) -> dict[str, Any]:
        number = self._n
        self._n += 1
        return {"type": kind, "sequence_number": number, **fields}
