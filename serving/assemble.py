"""Put a gateway together from a pool and a fitted router."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from probes.errors import ConfigError, MissingExtraError
from router.configuration.pool import Pool
from router.router import Router
from serving.backends.base import Backend
from serving.backends.registry import make_backends
from serving.flow.decider import Decider
from serving.flow.fallback import FallbackScout
from serving.flow.gateway import Gateway, Service
from serving.keys.guard import Guard
from serving.keys.upkeep import Upkeep
from serving.ledger.database import Database, ledger_url
from serving.ledger.ledger import Deployment, Ledger
from serving.ledger.reading.watch import Watch
from serving.metrics import Metrics
from serving.policies.standing import Standing
from serving.scout import LocalScout, Scout
from serving.settings import GatewaySettings

if TYPE_CHECKING:
    from serving.tracing.tracing import Tracing


def make_gateway(
    pool: Pool, router: Router, *, settings: GatewaySettings | None = None, log_folder: Path | None = None
) -> Gateway:
    """A gateway over the pool's backends, not yet started.

    Parameters
    ----------
    pool
        Candidates and their backends.
    router
        Fitted for these candidates.
    settings
        Limits and timeouts.
    log_folder
        For the logs of managed vLLM servers; None makes a temporary folder.

    Raises
    ------
    ConfigError
        If a backend of the pool, or its scout, cannot work as it is configured.
    """
    settings = settings or GatewaySettings()
    logs = log_folder or default_logs()
    scout, backends = scouting(pool, router, settings, logs)
    metrics = Metrics()
    tracing = _tracing(settings)
    if tracing is not None:
        scout = tracing.scout(scout)
    decider = Decider(router, scout, timeout_s=settings.scout_timeout_s, metrics=metrics)
    ledger = _ledger(pool, router, settings, metrics)
    guard = _guard(pool, settings)
    services: list[Service] = [service for service in (tracing, ledger) if service is not None]
    decider.standing = Standing(router, ledger)
    services.append(decider.standing)
    if guard is not None:
        services.append(Upkeep(guard, ledger))
    return Gateway(
        pool,
        decider,
        backends,
        settings=settings,
        metrics=metrics,
        ledger=ledger,
        guard=guard,
        services=services,
        tracing=tracing,
    )


def default_logs() -> Path:
    """Where managed vLLM servers log if nobody says."""
    return Path(tempfile.gettempdir()) / "foresight-logs"


def _ledger(pool: Pool, router: Router, settings: GatewaySettings, metrics: Metrics) -> Ledger | None:
    if settings.ledger is None:
        return None
    database = Database(ledger_url(settings.ledger.place(), settings.folder))
    return Ledger(database, settings.ledger, Deployment.of(pool, router), Watch(metrics.registry))


def _tracing(settings: GatewaySettings) -> Tracing | None:
    if settings.tracing is None:
        return None
    try:
        from serving.tracing.tracing import Tracing
    except ImportError as error:
        raise MissingExtraError(
            "serve.tracing needs OpenTelemetry", hint="pip install 'foresight-router[tracing]'"
        ) from error
    return Tracing(settings.tracing)


def _guard(pool: Pool, settings: GatewaySettings) -> Guard | None:
    if settings.keys is None:
        return None
    guard = Guard(settings.keys, settings.folder)
    for key in guard.ring.keys:
        if key.has_budget and settings.ledger is None:
            message = f"The key {key.id} has a budget, but no ledger remembers what it has spent."
            raise ConfigError(message, param="serve.ledger", hint="Take out `ledger: null`.")
        for name in key.candidates or ():
            pool.index(name)
    return guard


def scouting(
    pool: Pool, router: Router, settings: GatewaySettings, logs: Path
) -> tuple[Scout | None, dict[str, Backend]]:
    """The scout, and the backends; in mode `engine` it sits inside one of them."""
    mode = settings.scout_mode or pool.scout.mode
    if mode in ("local", "none"):
        scout = None if mode == "none" else local_scout(router, settings)
        return scout, make_backends(pool, settings, logs)
    from serving.engine.posts import dedicated_scout, engine_scout

    engine: Scout
    if mode == "engine":
        engine, backends = engine_scout(pool, router, lambda pool: make_backends(pool, settings, logs))
    else:
        engine, backends = dedicated_scout(pool, router, logs), make_backends(pool, settings, logs)
    if pool.scout.fallback == "none":
        return engine, backends
    return FallbackScout(engine, lambda: local_scout(router, settings)), backends


def local_scout(router: Router, settings: GatewaySettings) -> LocalScout:
    """The scout in this process; loads it."""
    return LocalScout(router.encoder, max_batch=settings.scout_batch, window_s=settings.scout_window_s)
