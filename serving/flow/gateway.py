"""The flow of a request: decide, ask, answer. No HTTP framework in here.

query → names (candidate or router?) → decider → ranking → dispatch → answer or relay → record
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from probes.errors import ForesightError
from router.configuration.pool import Candidate, Pool
from router.decisions.decision import Decision
from router.router import Router
from serving.backends.base import Backend, State
from serving.fleet import Fleet
from serving.flow.account import Account, Clock
from serving.flow.decider import Decider
from serving.flow.explain import Explanation
from serving.flow.names import ModelNames
from serving.flow.record import Finish, Observer, TokenCount
from serving.flow.sending.dispatch import Dispatcher, NoAnswer
from serving.flow.sending.relay import Relay
from serving.http.errors import ApiError
from serving.http.protocol import Query
from serving.keys.guard import Guard
from serving.ledger.ledger import Deployment, Ledger
from serving.metrics import Metrics
from serving.policies.cascade import Cascading, Settled
from serving.resilience.admission import Admission
from serving.resilience.pressure import Pressure
from serving.settings import GatewaySettings

if TYPE_CHECKING:
    from serving.tracing.tracing import Tracing


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
    ledger
        Keeps decisions and outcomes; None keeps none.
    guard
        Knows the keys; None answers everybody.
    services
        Started before the backends and closed after them, in reverse.
    tracing
        Makes spans; None makes none.
    """

    def __init__(
        self,
        pool: Pool,
        decider: Decider,
        backends: Mapping[str, Backend],
        *,
        settings: GatewaySettings | None = None,
        metrics: Metrics | None = None,
        ledger: Ledger | None = None,
        guard: Guard | None = None,
        services: Sequence[Service] = (),
        tracing: Tracing | None = None,
    ) -> None:
        self.pool = pool
        self.settings = settings or GatewaySettings()
        self.metrics = metrics or decider.metrics
        self.names = ModelNames(pool, decider.policies())
        self.fleet = Fleet(backends)
        self.admission = Admission(self.settings.max_in_flight, self.settings.max_held_bytes)
        self._decider = decider
        self._pressure = Pressure(decider.router, self.fleet.backends, self.settings.load_poll_s)
        decider.queue_s = self._pressure.queue_s
        self.tracing = tracing
        self._dispatcher = Dispatcher(self._asked(backends, pool), self.settings)
        self.ledger = ledger
        self.guard = guard
        self._services = services
        told: tuple[Observer | None, ...] = (self.metrics, ledger, guard, decider.standing, tracing)
        self._observers = [observer for observer in told if observer is not None]

    @property
    def router(self) -> Router:
        """Who chooses now."""
        return self._decider.router

    def _asked(self, backends: Mapping[str, Backend], pool: Pool) -> Mapping[str, Backend]:
        """The backends as they are asked: inside of spans, if anybody wants them."""
        return backends if self.tracing is None else self.tracing.asked(backends, pool)

    def queue_s(self) -> Mapping[str, float]:
        """Expected wait of the candidates whose servers are known to have a queue, in seconds."""
        return self._pressure.queue_s()

    async def start(self) -> None:
        """Start services and scout, and begin to start the backends."""
        for service in self._services:
            await service.start()
        await self._decider.start()
        await self.fleet.start()
        await self._pressure.start()

    async def ready(self) -> None:
        """Wait until every backend is up, and the scout; `BackendError` as soon as one cannot be."""
        await self.fleet.ready()
        await self._decider.ready()

    async def close(self) -> None:
        """Stop everything that `start` began."""
        await self._pressure.close()
        await self._decider.close()
        await self.fleet.close()
        for service in reversed(self._services):
            await service.close()

    async def use(self, pool: Pool, router: Router, fleet: Fleet) -> Dispatcher:
        """Serve another pool from the next request on; gives the dispatcher of those that are under way.

        Parameters
        ----------
        pool, router
            Of the same scout.
        fleet
            The pool's backends, started.

        Raises
        ------
        ArtefactError
            If the router was fitted on another scout; nothing has changed then.
        """
        pressure = Pressure(router, fleet.backends, self.settings.load_poll_s)
        await pressure.start()
        try:
            self._decider.use(router)
        except ForesightError:
            await pressure.close()
            raise
        # From here on without a pause: a request sees the old pool or the new one, and no mixture.
        self.pool, self.fleet = pool, fleet
        if self.ledger is not None:
            self.ledger.deployment = Deployment.of(pool, router)
        self.names = ModelNames(pool, self._decider.policies())
        self._decider.queue_s = pressure.queue_s
        last, self._pressure = self._pressure, pressure
        old = self._dispatcher
        asked = self._asked(fleet.backends, pool)
        self._dispatcher = Dispatcher(asked, self.settings, breakers=old.breakers)
        await last.close()
        return old

    async def status(self) -> tuple[bool, dict[str, Any]]:
        """Whether some candidate can answer, and the detail of `GET /ready`."""
        health = await self.fleet.health()
        for name, state in health.items():
            self.metrics.saw(name, state)
        ready = any(state.state is State.UP for state in health.values())
        starting = any(state.state is State.STARTING for state in health.values())
        backends = {
            name: {
                "state": state.state.value,
                "detail": state.detail,
                "breaker": self._dispatcher.breakers[name].state.value,
            }
            for name, state in sorted(health.items())
        }
        word = "ready" if ready else "starting" if starting else "unavailable"
        return ready, {"status": word, "backends": backends, "router": self._decider.status()}

    async def decide(self, query: Query, *, answering: bool = False) -> Decision:
        """The decision for a query, also where the client named the candidate itself."""
        target = self.names.resolve(query.model)
        began = time.perf_counter()
        if target.candidate is not None:
            decision = self._decider.named(target.candidate)
        else:
            decision = await self._decider.decide(query, target.policy, answering=answering)
        self._told(decision, time.perf_counter() - began, query)
        return decision

    def _told(self, decision: Decision, seconds: float, query: Query) -> None:
        for observer in self._observers:
            observer.decided(decision, seconds, query)

    async def answer(self, query: Query, decision: Decision | None = None) -> Whole | Streaming:
        """Decide, unless that is done, and answer.

        Raises
        ------
        ApiError
            If the request cannot be answered; nothing was sent to the client yet.
        """
        clock = Clock()
        deadline = asyncio.get_running_loop().time() + self.settings.request_timeout_s
        if decision is None:
            decision = await self.decide(query, answering=True)
        else:
            self._told(decision, 0.0, query)
        account = Account(self._observers, query, decision, clock, self._dispatcher)
        try:
            candidates = [self.names.candidates[name] for name in decision.ranking]
            settled = await self._settle(account, candidates, deadline)
        except NoAnswer as error:
            account.close("error", None, None, error.failures, error.status)
            raise
        except ApiError as error:
            account.close("error", None, None, status=error.status)
            raise
        except BaseException:
            account.close("aborted", None, None)
            raise
        clock.first_byte()
        return self._stream(account, settled) if settled.answer.stream else self._whole(account, settled)

    async def _settle(self, account: Account, candidates: Sequence[Candidate], deadline: float) -> Settled:
        """The answer that the client will be given, after as many calls as the decision asks for."""
        query, decision = account.query, account.decision
        if decision.cascade is None:
            return Settled(await account.dispatcher.open(query, candidates, deadline))
        limit = self.settings.max_answer_bytes
        cascading = Cascading(account.dispatcher, query, decision, deadline, limit)
        try:
            return await cascading.settle(candidates)
        finally:
            account.tried.extend(cascading.tried)

    def _whole(self, account: Account, settled: Settled) -> Whole:
        answer = settled.answer
        explanation = Explanation(account.decision, answer.candidate.name, answer.failures, account.tried)
        explain = account.query.preferences.explain
        body = explanation.into_body(answer.body) if explain else answer.body
        tokens = settled.tokens or TokenCount.from_usage(answer.parsed.get("usage"))
        account.close("ok", answer.candidate, tokens, answer.failures)
        return Whole(body, explanation.headers())

    def _stream(self, account: Account, settled: Settled) -> Streaming:
        answer = settled.answer
        explanation = Explanation(account.decision, answer.candidate.name, answer.failures, account.tried)

        def finished(finish: Finish, tokens: TokenCount) -> None:
            account.close(finish, answer.candidate, settled.tokens or tokens, answer.failures)

        told = explanation if account.query.preferences.explain else None
        limit = self.settings.max_answer_bytes
        relay = Relay(answer, told, account.decision.input_tokens, finished, limit)
        return Streaming(relay, explanation.headers())


class Service(Protocol):
    """Something that lives as long as the gateway."""

    async def start(self) -> None:
        """Begin."""
        ...

    async def close(self) -> None:
        """End."""
        ...
