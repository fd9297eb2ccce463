"""Asks a batch's candidates through the gateway: its breakers, ledger, metrics and the key's budget."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import count

from probes.errors import BackendError
from router.decisions.decision import Decision
from serving.batch.running.reply import NO_MONEY, Reply
from serving.flow.gateway import Gateway, Whole
from serving.flow.record import TokenCount
from serving.http.errors import ApiError
from serving.http.protocol import Preferences, Query, json_object
from serving.resilience.backoff import Backoff

PATIENCE = Backoff(retries=8, first_s=0.25, max_s=30.0)
WORTH_ANOTHER_TRY = frozenset({429, 500, 502, 503, 504})


class GatewayAsker:
    """Asks on the gateway's event loop, from a job that runs on another.

    Parameters
    ----------
    gateway
        Started.
    loop
        Where it runs.
    key_id
        Whose batch it is.
    """

    def __init__(self, gateway: Gateway, loop: asyncio.AbstractEventLoop, key_id: str | None) -> None:
        self._gateway = gateway
        self._loop = loop
        self._key_id = key_id

    async def ask(self, query: Query, candidate: str) -> Reply:
        """The whole answer; `ApiError` if the client is at fault or patience is at its end."""
        asked = asyncio.run_coroutine_threadsafe(self._patiently(query, candidate), self._loop)
        return await asyncio.wrap_future(asked)

    async def _patiently(self, query: Query, candidate: str) -> Reply:
        body = {name: value for name, value in query.body.items() if name != "stream"}
        asked = replace(query, model=candidate, body=body, preferences=Preferences(), key_id=self._key_id)
        for done in count():
            try:
                self._check_budget()
                return _reply(candidate, await self._gateway.answer(asked, _decision(candidate)))
            except ApiError as error:
                wait_s = None
                if error.status in WORTH_ANOTHER_TRY and error.code != NO_MONEY:
                    after = error.headers.get("retry-after")
                    wait_s = PATIENCE.wait_s(done, None if after is None else float(after), float("inf"))
                if wait_s is None:
                    raise
            await asyncio.sleep(wait_s)
        raise BackendError("unreachable")  # count() never ends

    def _check_budget(self) -> None:
        guard = self._gateway.guard
        if guard is not None and self._key_id is not None:
            guard.check_budget(self._key_id)


def _decision(candidate: str) -> Decision:
    return Decision(
        candidate=candidate,
        reason="the plan of a batch gives this line to it",
        policy="batch",
        success={},
        expected_cost_usd={},
        expected_output_tokens={},
        ranking=(candidate,),
    )


def _reply(candidate: str, answered: object) -> Reply:
    if not isinstance(answered, Whole):
        raise BackendError(f"{candidate} streamed an answer to a batch.", param=candidate)
    body = json_object(answered.body)
    tokens = TokenCount.from_usage(body.get("usage"))
    if tokens is None:
        raise BackendError(
            f"{candidate} answered without `usage`: what it costs is not known.",
            param=candidate,
            hint="A batch counts money by the backend's token counts; use a backend that reports them.",
        )
    return Reply(body, tokens.input, tokens.output)
