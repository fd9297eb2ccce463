"""Prometheus metrics of one gateway.

Names: prefix `foresight_`, base units as suffix, labels with few values only (never a prompt or a request).
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from router.decisions.decision import Decision
from serving.backends.base import Health, State
from serving.flow.record import Exchange
from serving.http.protocol import Query

Metric = TypeVar("Metric", Counter, Histogram)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
"""Buckets from a decision to a long answer."""


class Metrics:
    """An observer that counts, with a registry of its own (several gateways in one process do not mix)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._define_traffic()
        self._define_routing()
        self._children: dict[tuple[object, ...], Any] = {}

    def _define_traffic(self) -> None:
        of = self.registry
        self.responses = Counter(
            "foresight_http_responses", "HTTP responses by route and status.", ["route", "code"], registry=of
        )
        self.in_flight = Gauge("foresight_http_requests_in_flight", "Requests being handled.", registry=of)
        self.requests = Counter(
            "foresight_requests",
            "Finished completions by endpoint, answering candidate and outcome (ok, error, aborted).",
            ["endpoint", "candidate", "outcome"],
            registry=of,
        )
        self.duration = Histogram(
            "foresight_request_duration_seconds",
            "Time from a request to the end of its answer.",
            ["endpoint", "candidate"],
            buckets=SECONDS,
            registry=of,
        )
        self.first_byte = Histogram(
            "foresight_time_to_first_byte_seconds",
            "Time from a request to the first byte of its answer.",
            ["endpoint", "candidate"],
            buckets=SECONDS,
            registry=of,
        )
        self.tokens = Counter(
            "foresight_tokens", "Tokens by candidate and direction.", ["candidate", "direction"], registry=of
        )
        self.cost = Counter(
            "foresight_cost_usd", "Cost of answers at the pool's prices.", ["candidate"], registry=of
        )

    def _define_routing(self) -> None:
        of = self.registry
        self.decisions = Counter(
            "foresight_decisions",
            "Decisions by policy and chosen candidate.",
            ["policy", "candidate"],
            registry=of,
        )
        self.novel = Counter("foresight_novel_queries", "Queries unlike the training queries.", registry=of)
        self.decision_duration = Histogram(
            "foresight_decision_duration_seconds",
            "Time of a decision, activations included.",
            buckets=SECONDS,
            registry=of,
        )
        self.scout_failures = Counter(
            "foresight_scout_failures", "Queries that got no activations, by cause.", ["kind"], registry=of
        )
        self.backend_failures = Counter(
            "foresight_backend_failures",
            "Attempts that failed, by backend and cause.",
            ["backend", "kind"],
            registry=of,
        )
        self.backend_up = Gauge(
            "foresight_backend_up", "Whether a backend answers (1) or not (0).", ["backend"], registry=of
        )

    def _of(self, metric: Metric, *labels: str) -> Metric:
        """One child of a metric; the library's own way to it costs more than counting does."""
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return cast(Metric, child)

    def responded(self, route: str, status: int) -> None:
        """Count a response."""
        self._of(self.responses, route, str(status)).inc()

    def decided(self, decision: Decision, seconds: float, query: Query) -> None:
        """Count a decision."""
        self._of(self.decisions, decision.policy, decision.candidate).inc()
        self.decision_duration.observe(seconds)
        if decision.novel:
            self.novel.inc()

    def finished(self, exchange: Exchange) -> None:
        """Count a finished exchange."""
        candidate = exchange.candidate or "none"
        self._of(self.requests, exchange.endpoint, candidate, exchange.finish).inc()
        self._of(self.duration, exchange.endpoint, candidate).observe(exchange.total_s)
        if exchange.first_byte_s is not None:
            self._of(self.first_byte, exchange.endpoint, candidate).observe(exchange.first_byte_s)
        if exchange.tokens is not None:
            self._of(self.tokens, candidate, "input").inc(exchange.tokens.input)
            self._of(self.tokens, candidate, "output").inc(exchange.tokens.output)
        if exchange.cost_usd is not None:
            self._of(self.cost, candidate).inc(exchange.cost_usd)
        for failure in exchange.failures:
            self.backend_failures.labels(failure.backend, failure.kind).inc()

    def scout_failed(self, kind: str) -> None:
        """Count a query that got no activations."""
        self.scout_failures.labels(kind).inc()

    def saw(self, backend: str, health: Health) -> None:
        """Note a backend's health."""
        self.backend_up.labels(backend).set(1 if health.state is State.UP else 0)

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self.registry)
