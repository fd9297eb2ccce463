"""Asks candidates through replicas of their backends, each a Ray actor; replicas may die."""

from __future__ import annotations

import asyncio
from typing import Any

from probes.errors import BackendError
from router.configuration.pool import Pool
from serving.batch.on_ray.replica import Refusal, Replica
from serving.batch.running.reply import Reply
from serving.http.errors import ApiError
from serving.http.protocol import Query

TRIES = 20
"""Replicas that may die under one line before it is given up."""
REST_S = 0.5
"""Time before a line whose replica died is asked again."""


class RayAsker:
    """An `Asker` over a cluster that is up.

    Parameters
    ----------
    pool
        The candidates.
    workers
        Replicas of each backend.
    concurrency
        Lines in flight at each replica.
    """

    def __init__(self, pool: Pool, workers: int, concurrency: int) -> None:
        self._pool, self._workers, self._concurrency = pool, workers, concurrency
        self._replicas: dict[str, list[Any]] = {}
        self._flying: dict[Any, int] = {}

    async def start(self) -> None:
        """Start all replicas and wait until they are up.

        Raises
        ------
        BackendError
            One of them cannot start.
        """
        import ray

        used = {candidate.backend for candidate in self._pool.candidates}
        actor = ray.remote(Replica)
        for name in sorted(used):
            self._replicas[name] = [
                actor.options(
                    num_cpus=0,
                    num_gpus=_gpus(self._pool, name),
                    max_restarts=-1,
                    max_concurrency=self._concurrency + 8,
                ).remote(self._pool, name)
                for _ in range(self._workers)
            ]
        everybody = [replica for replicas in self._replicas.values() for replica in replicas]
        self._flying = dict.fromkeys(everybody, 0)
        for failure in await asyncio.gather(*(replica.start.remote() for replica in everybody)):
            if failure:
                raise BackendError(failure, hint="Look at the backend's settings in the pool file.")

    async def ask(self, query: Query, candidate: str) -> Reply:
        """The whole answer; `ApiError` if the client is at fault or nobody lives to answer."""
        from ray.exceptions import RayActorError

        replicas = self._replicas[self._pool[candidate].backend]
        for _ in range(TRIES):
            replica = min(replicas, key=self._flying.__getitem__)
            self._flying[replica] += 1
            try:
                answer: Reply | Refusal = await replica.ask.remote(query, candidate)
            except RayActorError:  # it is being started again; nothing was journalled, so nothing is lost
                await asyncio.sleep(REST_S)
                continue
            finally:
                self._flying[replica] -= 1
            if isinstance(answer, Refusal):
                raise answer.error()
            return answer
        raise ApiError(503, f"The workers of {candidate} died {TRIES} times.", code="backend_connect")

    async def close(self) -> None:
        """Stop all replicas and their backends."""
        import ray

        everybody = list(self._flying)
        await asyncio.gather(*(replica.close.remote() for replica in everybody), return_exceptions=True)
        for replica in everybody:
            ray.kill(replica)


def _gpus(pool: Pool, backend: str) -> float:
    """GPUs that a replica needs where Ray knows of any: its share of one, or as many as its vLLM spans."""
    import ray

    entry = pool.backends[backend]
    if entry.kind != "vllm" or not ray.cluster_resources().get("GPU"):  # type: ignore[no-untyped-call]
        return 0.0
    flag = "--tensor-parallel-size"
    if flag in entry.args[:-1]:
        return float(entry.args[entry.args.index(flag) + 1])
    return entry.gpu_memory_fraction or 1.0
