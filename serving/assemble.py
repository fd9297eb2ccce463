"""Put a gateway together from a pool and a fitted router."""

from __future__ import annotations

import tempfile
from pathlib import Path

from router.pool import Pool
from router.router import Router
from serving.backends.registry import make_backends
from serving.decider import Decider
from serving.gateway import Gateway
from serving.metrics import Metrics
from serving.scout import LocalScout, Scout
from serving.settings import GatewaySettings


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
        If a backend of the pool cannot work as it is configured.
    """
    settings = settings or GatewaySettings()
    logs = log_folder or Path(tempfile.gettempdir()) / "foresight-logs"
    metrics = Metrics()
    decider = Decider(router, _scout(router, settings), timeout_s=settings.scout_timeout_s, metrics=metrics)
    return Gateway(pool, decider, make_backends(pool, settings, logs), settings=settings, metrics=metrics)


def _scout(router: Router, settings: GatewaySettings) -> Scout | None:
    if settings.scout_mode == "none":
        return None
    return LocalScout(router.encoder, max_batch=settings.scout_batch, window_s=settings.scout_window_s)
