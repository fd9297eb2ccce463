"""The endpoints that decide and answer: from a request's bytes to a response."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from probes.errors import ForesightError
from serving.flow.gateway import Gateway, Whole
from serving.http import protocol
from serving.http.direct import Handler, place_of
from serving.http.edge import read_body, request_id
from serving.http.errors import ApiError, as_api_error
from serving.http.protocol import Query
from serving.http.responses import EventStreamResponse, JsonBytes, unless_disconnected
from serving.keys.middleware import key_of
from serving.responses_api.answer import whole
from serving.responses_api.request import in_own_words, parse_response
from serving.responses_api.stream import ResponseRelay


class Answering:
    """Handlers over one gateway.

    Parameters
    ----------
    gateway
        Decides and answers.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def handlers(self) -> Mapping[str, Handler]:
        """By path, all for POST."""
        return {
            "/v1/chat/completions": self.chat_completions,
            "/v1/completions": self.completions,
            "/v1/responses": self.responses,
            "/v1/route": self.route,
        }

    async def chat_completions(self, request: Request) -> Response:
        """Answer a conversation, streaming or not; `model` decides who answers."""
        return await self._answer(request, protocol.parse_chat)

    async def completions(self, request: Request) -> Response:
        """Continue a text, streaming or not."""
        return await self._answer(request, protocol.parse_completion)

    async def responses(self, request: Request) -> Response:
        """Answer in the form of the Responses API, streaming or not; nothing is stored."""
        asked = parse_response(await limited_body(request, self._gateway), request_id(request))
        query = self._permitted(request, asked.query)
        try:
            answered = await unless_disconnected(request.receive, self._gateway.answer(query))
        except (ApiError, ForesightError) as error:
            raise in_own_words(as_api_error(error)) from error
        if isinstance(answered, Whole):
            return as_json(whole(json.loads(answered.body), asked.body), headers=answered.headers)
        return EventStreamResponse(ResponseRelay(answered.relay, asked.body), answered.headers)

    async def route(self, request: Request) -> Response:
        """Decide without answering: the whole decision, with every candidate's probability and cost."""
        query = await self._query(request, protocol.parse_route)
        decision = await unless_disconnected(request.receive, self._gateway.decide(query))
        return as_json({"object": "foresight.decision", **decision.to_dict()})

    async def _answer(self, request: Request, parse: Callable[[bytes, str, str | None], Query]) -> Response:
        query = await self._query(request, parse)
        answered = await unless_disconnected(request.receive, self._gateway.answer(query))
        if isinstance(answered, Whole):
            return JsonBytes(answered.body, headers=answered.headers)
        return EventStreamResponse(answered.relay, answered.headers)

    async def _query(self, request: Request, parse: Callable[[bytes, str, str | None], Query]) -> Query:
        raw = await limited_body(request, self._gateway)
        key = key_of(request)
        return self._permitted(request, parse(raw, request_id(request), None if key is None else key.id))

    def _permitted(self, request: Request, query: Query) -> Query:
        key, guard = key_of(request), self._gateway.guard
        if key is None or guard is None:
            return query
        return guard.restrict(query, key, self._gateway.pool.names)


async def limited_body(request: Request, gateway: Gateway) -> bytes:
    """A request's body within the limits of the gateway and of its key."""
    key, settings = key_of(request), gateway.settings
    limit = settings.max_body_bytes
    if key is not None and key.max_body_bytes is not None:
        limit = min(limit, key.max_body_bytes)
    return await read_body(request, limit, settings.body_timeout_s, place_of(request))


def as_json(
    content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> JsonBytes:
    """A JSON response."""
    return JsonBytes(json.dumps(content).encode(), status_code=status, headers=headers or {})
