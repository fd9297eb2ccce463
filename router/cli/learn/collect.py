"""``foresight collect``: run the pool over questions and grade the answers."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.table import Table

from router.cli.output import money, out, progress, say, write_json

if TYPE_CHECKING:
    from eval.collection.collect import Collection
    from router.configuration.pool import Pool

EXAMPLE = "Example: foresight collect pool.yaml questions.jsonl -o outcomes/ --samples 4"


def collect(
    pool: Annotated[Path, typer.Argument(metavar="POOL", help="The pool file.")],
    prompts: Annotated[Path, typer.Argument(metavar="PROMPTS", help="queries.jsonl with references.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The outcome set's folder.")],
    samples: Annotated[int, typer.Option(min=1, help="Answers per question and candidate.")] = 1,
    concurrency: Annotated[int, typer.Option(min=1, help="Calls in flight.")] = 16,
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON.")] = False,
) -> None:
    """Run the pool over questions, grade, write an outcome set; after a stop the same command goes on."""
    from eval.collection.collect import collect as run_pool
    from eval.queries import Queries
    from router.configuration.pool import Pool

    loaded, queries = Pool.load(pool), Queries.load(prompts)

    async def run() -> Collection:
        async with running_endpoints(loaded) as endpoints:
            with progress("Asking") as told:
                return await run_pool(
                    loaded,
                    queries,
                    output,
                    endpoints=endpoints,
                    samples=samples,
                    concurrency=concurrency,
                    progress=told,
                )

    _report(asyncio.run(run()), output, as_json)


@asynccontextmanager
async def running_endpoints(pool: Pool) -> AsyncIterator[dict[str, str]]:
    """Base URL by candidate; servers that the pool manages run as long as the context lasts."""
    managed = {name for name, backend in pool.backends.items() if backend.kind == "vllm"}
    used = managed & {candidate.backend for candidate in pool.candidates}
    if not used:
        yield {}
        return
    from serving.backends.registry import make_backends
    from serving.backends.vllm import ManagedVllm
    from serving.fleet import Fleet
    from serving.settings import GatewaySettings

    with tempfile.TemporaryDirectory(prefix="foresight-") as logs:
        backends = make_backends(pool, GatewaySettings(), Path(logs))
        servers = {name: b for name, b in backends.items() if isinstance(b, ManagedVllm)}
        fleet = Fleet(servers)
        say(f"Starting {len(servers)} vLLM servers …")
        try:
            await fleet.start()
            await fleet.ready()
            yield {c.name: f"{servers[c.backend].url}/v1" for c in pool.candidates if c.backend in servers}
        finally:
            await fleet.close()


def _report(collection: Collection, folder: Path, as_json: bool) -> None:
    outcomes = collection.outcomes
    accuracy = np.nanmean(outcomes.correct, axis=0)
    cost = np.nanmean(outcomes.cost_usd, axis=0)
    if as_json:
        write_json(
            {
                "outcomes": str(folder),
                "queries": len(outcomes),
                "calls": collection.calls,
                "reused": collection.reused,
                "failures": len(collection.failures),
                "accuracy": dict(zip(outcomes.candidates, accuracy.tolist(), strict=True)),
                "mean_cost_usd": dict(zip(outcomes.candidates, cost.tolist(), strict=True)),
            }
        )
        return
    table = Table("candidate", "accuracy", "cost of 1,000", title=f"{len(outcomes)} questions")
    for k in np.argsort(cost):
        table.add_row(outcomes.candidates[k], f"{accuracy[k]:.1%}", money(1000 * cost[k]))
    out().print(table)
    say(
        f"{collection.calls} calls, {collection.reused} already there,"
        f" {len(collection.failures)} failed; see {folder}"
    )
