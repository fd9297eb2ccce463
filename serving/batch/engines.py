"""Where a job runs: in this process, or on Ray; the plan, the journal and the money are the same."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from router.allocation.spending import Goal
from router.configuration.pool import Pool
from serving.backends.registry import make_backends
from serving.batch.asking import DispatchAsker
from serving.batch.on_ray.reading import LoadRouter
from serving.batch.reading.surveyor import Reader
from serving.batch.running.engine import LocalEngine
from serving.fleet import Fleet
from serving.settings import GatewaySettings


@dataclass(frozen=True)
class Standing:
    """An engine that is set up.

    Attributes
    ----------
    engine
        Asks.
    ready
        Starts the backends and waits for them.
    reader
        Reads the lines; None: this process does.
    """

    engine: LocalEngine
    ready: Callable[[], Awaitable[None]]
    reader: Reader | None = None


@asynccontextmanager
async def local(pool: Pool, concurrency: int) -> AsyncIterator[Standing]:
    """Backends of this process, stopped at the end.

    Parameters
    ----------
    pool
        The candidates.
    concurrency
        Lines in flight at each backend.
    """
    settings = GatewaySettings()
    with tempfile.TemporaryDirectory(prefix="foresight-") as logs:
        fleet = Fleet(make_backends(pool, settings, Path(logs)))

        async def ready() -> None:
            await fleet.start()
            await fleet.ready()

        asker = DispatchAsker(pool, fleet.backends, settings)
        try:
            yield Standing(LocalEngine(pool, asker, concurrency=concurrency), ready)
        finally:
            await fleet.close()


@asynccontextmanager
async def on_ray(
    pool: Pool,
    load: LoadRouter,
    goal: Goal,
    *,
    workers: int,
    concurrency: int,
    address: str | None = None,
    cores: int | None = None,
) -> AsyncIterator[Standing]:
    """Replicas on Ray, stopped at the end.

    Parameters
    ----------
    pool
        The candidates.
    load
        Makes the router in each actor that reads.
    goal
        The job's.
    workers
        Actors that read, and replicas of each backend.
    concurrency
        Lines in flight at each replica.
    address
        Of a running cluster; None starts Ray on this machine.
    cores
        That a Ray started here may plan with; None: all.
    """
    from serving.batch.on_ray.asking import RayAsker
    from serving.batch.on_ray.cluster import cluster
    from serving.batch.on_ray.reading import RayReader

    with cluster(address, cores):
        asker = RayAsker(pool, workers, concurrency)
        engine = LocalEngine(pool, asker, concurrency=concurrency * workers)
        try:
            yield Standing(engine, asker.start, RayReader(load, goal, len(pool.names), workers))
        finally:
            await asker.close()
