"""The flow of a request: decide, ask, answer. No HTTP framework in here.

query → names (candidate or router?) → decider → ranking → dispatch → answer or relay → record
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.decision import Decision
from router.pool import Candidate, Pool
from serving.backends.base import Backend, State
from serving.decider import Decider
from serving.dispatch import Answer, Dispatcher, Failure, NoAnswer
from serving.errors import ApiError
from serving.explain import Explanation
from serving.fleet import Fleet
from serving.metrics import Metrics
from serving.names import ModelNames
from serving.protocol import Query
from serving.record import Exchange, Finish, Observer, TokenCount
from serving.relay import Relay
from serving.settings import GatewaySettings


@dataclass(frozen=True)
class Whole:
    """A complete answer: its bytes and its explanation headers."""

    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Streaming:
    """An answer that has begun to stream, and its explanation headers."""

    relay: Relay
    headers: Mapping[str, str]


class Gateway:
    """Everything behind the HTTP layer.

    Parameters
    ----------
    pool
        Candidates, prices, policies.
    decider
        Chooses among the candidates.
    backends
        By their name in the pool; the gateway starts and stops them.
    settings
        Limits and timeouts.
    observers
        Told about every decision and exchange, besides the gateway's own metrics.
    """

    def __init__(
        self,
        pool: Pool,
        decider: Decider,
        backends: Mapping[str, Backend],
        *,
        settings: GatewaySettings | None = None,
        metrics: Metrics | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.pool = pool
        self.settings = settings or GatewaySettings()
        self.metrics = metrics or decider.metrics
        self.names = ModelNames(pool, decider.policies())
        self.fleet = Fleet(backends)
        self._decider = decider
        self._dispatcher = Dispatcher(self.fleet.backends, self.settings)
        self._observers: tuple[Observer, ...] = (self.metrics, *observers)

    async def start(self) -> None:
        """Start the scout, and begin to start the backends."""
        await self._decider.start()
        await self.fleet.start()

    async def ready(self) -> None:
        """Wait until every backend is up; `BackendError` as soon as one cannot be."""
        await self.fleet.ready()

    async def close(self) -> None:
        """Stop everything that `start` began."""
        await self._decider.close()
        await self.fleet.close()

    async def status(self) -> tuple[bool, dict[str, Any]]:
        """Whether some candidate can answer, and the detail of `GET /ready`."""
        health = await self.fleet.health()
        for name, state in health.items():
            self.metrics.saw(name, state)
        ready = any(state.state is State.UP for state in health.values())
        starting = any(state.state is State.STARTING for state in health.values())
        backends = {
            name: {"state": state.state.value, "detail": state.detail}
            for name, state in sorted(health.items())
        }
        word = "ready" if ready else "starting" if starting else "unavailable"
        return ready, {"status": word, "backends": backends, "router": self._decider.status()}

    async def decide(self, query: Query) -> Decision:
        """The decision for a query, also where the client named the candidate itself."""
        target = self.names.resolve(query.model)
        began = time.perf_counter()
        if target.candidate is not None:
            decision = self._decider.named(target.candidate)
        else:
            decision = await self._decider.decide(query, target.policy)
        for observer in self._observers:
            observer.decided(decision, time.perf_counter() - began)
        return decision

    async def answer(self, query: Query) -> Whole | Streaming:
        """Decide and answer.

        Raises
        ------
        ApiError
            If the request cannot be answered; nothing was sent to the client yet.
        """
        clock = _Clock()
        decision = await self.decide(query)
        account = _Account(self, query, decision, clock)
        try:
            answer = await self._dispatcher.open(query, [self.names.candidates[n] for n in decision.ranking])
        except NoAnswer as error:
            account.close("error", None, None, error.failures)
            raise
        except ApiError:
            account.close("error", None, None)
            raise
        except BaseException:
            account.close("aborted", None, None)
            raise
        clock.first_byte()
        return self._stream(account, answer) if answer.stream else self._whole(account, answer)

    def _whole(self, account: _Account, answer: Answer) -> Whole:
        explanation = Explanation(account.decision, answer.candidate.name, answer.failures)
        explain = account.query.preferences.explain
        body = explanation.into_body(answer.body) if explain else answer.body
        tokens = TokenCount.from_usage(answer.parsed.get("usage"))
        account.close("ok", answer.candidate, tokens, answer.failures)
        return Whole(body, explanation.headers())

    def _stream(self, account: _Account, answer: Answer) -> Streaming:
        explanation = Explanation(account.decision, answer.candidate.name, answer.failures)

        def finished(finish: Finish, tokens: TokenCount) -> None:
            account.close(finish, answer.candidate, tokens, answer.failures)

        told = explanation if account.query.preferences.explain else None
        relay = Relay(answer, told, account.decision.input_tokens, finished)
        return Streaming(relay, explanation.headers())

    def record(self, exchange: Exchange) -> None:
        """Tell the observers."""
        for observer in self._observers:
            observer.finished(exchange)


class _Clock:
    """Times of one request, in seconds."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self.first_byte_s: float | None = None

    def first_byte(self) -> None:
        self.first_byte_s = self.now()

    def now(self) -> float:
        return time.perf_counter() - self._began


@dataclass(frozen=True)
class _Account:
    """What is known of one exchange until it is put on record."""

    gateway: Gateway
    query: Query
    decision: Decision
    clock: _Clock

    def close(
        self,
        finish: Finish,
        candidate: Candidate | None,
        tokens: TokenCount | None,
        failures: Sequence[Failure] = (),
    ) -> None:
        """Put the exchange on record."""
        cost_usd = None
        if candidate is not None and tokens is not None:
            price = candidate.price
            cost_usd = (tokens.input * price.usd_per_mtok_in + tokens.output * price.usd_per_mtok_out) / 1e6
        exchange = Exchange(
            endpoint=self.query.endpoint,
            request_id=self.query.request_id,
            decision=self.decision,
            candidate=None if candidate is None else candidate.name,
            finish=finish,
            tokens=tokens,
            cost_usd=cost_usd,
            first_byte_s=self.clock.first_byte_s,
            total_s=self.clock.now(),
            failures=failures,
        )
        self.gateway.record(exchange)
