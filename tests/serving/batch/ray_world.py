"""Local against Ray over one upstream, a worker of Ray killed midway; `test_ray` runs it in its own network.

The upstream does not tell how sure it is, so that every first answer is in doubt.

Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

from router.allocation.spending import ForBudget
from router.configuration.pool import Pool
from router.policies import Bar
from router.router import Router
from serving.batch.batch import Batch
from serving.batch.engines import Standing, local, on_ray
from serving.batch.summary import Summary
from tests.serving.batch.test_batch import _content, write_job
from tests.serving.files_api.desk import echoes, pool_at
from tests.serving.routing import router_of
from tests.serving.upstream import upstream

GOAL = ForBudget(0.02)
LINES = 300


def load(pool: Pool) -> Router:
    """What each actor that reads works with."""
    return router_of(pool)


async def run(standing: Standing, pool: Pool, folder: Path, name: str) -> Summary:
    batch = Batch(folder / "in.jsonl", router_of(pool), GOAL, reader=standing.reader, self_check=Bar())
    return await batch.run(folder / name, standing.engine, ready=standing.ready)


def replicas() -> list[int]:
    """Processes of this user in which a replica works."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"ray::Replica" in path.read_bytes() and _is_ours(int(path.parent.name)):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def _is_ours(pid: int) -> bool:
    """Whether it is in this network: other tests may run Ray at the same time."""
    return Path(f"/proc/{pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink()


async def kill_one(seen: list[Any], after: int) -> int:
    while len(seen) < after:
        await asyncio.sleep(0.01)
    victim = replicas()[0]
    os.kill(victim, signal.SIGKILL)
    return victim


async def main(folder: Path) -> dict[str, Any]:
    write_job(folder / "in.jsonl", LINES)
    async with upstream(echoes(0.02)) as far:
        pool = pool_at(far.url)
        async with local(pool, 4) as standing:
            calm = await run(standing, pool, folder, "local.jsonl")
        asked = len(far.bodies)
        async with on_ray(pool, partial(load, pool), GOAL, workers=2, concurrency=4, cores=2) as standing:
            killing = asyncio.create_task(kill_one(far.bodies, asked + LINES // 4))
            spread = await run(standing, pool, folder, "ray.jsonl")
            await killing
    return {
        "same": _content(folder / "local.jsonl") == _content(folder / "ray.jsonl"),
        "answered": [calm.answered, spread.answered],
        "rechecked": [calm.rechecked, spread.rechecked],
        "cost_usd": [calm.cost_usd, spread.cost_usd],
        "asked": [asked, len(far.bodies) - asked],
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(Path(sys.argv[1])))) + "\n")
