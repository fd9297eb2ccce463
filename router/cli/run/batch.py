"""``foresight batch``: many questions, one budget."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from probes.errors import UsageError
from router.cli.output import money, out, write_json
from router.cli.run.batch_view import draw_plan, draw_summary, progress, reading

if TYPE_CHECKING:
    from router.allocation.spending import Goal
    from router.configuration.pool import Pool
    from router.policies import Bar
    from router.router import Router
    from serving.batch.engines import Standing
    from serving.batch.summary import Summary

EXAMPLE = "Example: foresight batch run questions.jsonl -o answers.jsonl --budget 3.00"

GOALS = "--budget 3.00, --min-accuracy 0.90 or --policy NAME"


class Engine(StrEnum):
    """Where a job runs."""

    LOCAL = "local"
    RAY = "ray"


app = typer.Typer(help="Answer a file of questions for one budget.", no_args_is_help=True, epilog=EXAMPLE)

Input = Annotated[
    Path, typer.Argument(metavar="IN", help="OpenAI Batch JSONL, or .parquet/.csv with a prompt column.")
]
PoolOption = Annotated[Path, typer.Option(help="The pool file.")]
RouterOption = Annotated[
    Path | None, typer.Option(help="A fitted router's folder; default: the pool file's.")
]
BudgetOption = Annotated[float | None, typer.Option(help="Most money for the whole job, in US dollars.")]
FloorOption = Annotated[float | None, typer.Option(help="Least expected share of right answers.")]
PolicyOption = Annotated[str | None, typer.Option(help="Each line by itself, by this policy.")]
CheckOption = Annotated[
    bool, typer.Option("--self-check", help="Ask once more where a first answer looks wrong.")
]
AcceptOption = Annotated[
    float | None, typer.Option(help="--self-check: least confidence of an answer that is kept; default: 0.5.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command(epilog="Example: foresight batch plan questions.jsonl --pool pool.yaml")
def plan(
    source: Input,
    pool: PoolOption = Path("pool.yaml"),
    router: RouterOption = None,
    budget: BudgetOption = None,
    min_accuracy: FloorOption = None,
    policy: PolicyOption = None,
    self_check: CheckOption = False,
    accept: AcceptOption = None,
    as_json: Json = False,
) -> None:
    """Show what the job can cost and reach, before any money is spent."""
    from serving.batch.batch import Batch

    goal, bar = _goal(budget, min_accuracy, policy), _bar(self_check, accept)
    if goal is None and bar is not None:
        raise UsageError("--self-check is planned for one goal.", hint=GOALS)
    _, fitted, _ = _load(pool, router)
    with tempfile.TemporaryDirectory(prefix="foresight-") as folder:
        made = Batch(source, fitted, goal, self_check=bar).plan(Path(folder), reading())
    if as_json:
        write_json(made.to_dict())
    else:
        draw_plan(made)


@app.command(epilog=EXAMPLE)
def run(
    source: Input,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="Answers, as JSONL.")],
    pool: PoolOption = Path("pool.yaml"),
    router: RouterOption = None,
    budget: BudgetOption = None,
    min_accuracy: FloorOption = None,
    policy: PolicyOption = None,
    self_check: CheckOption = False,
    accept: AcceptOption = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Run the lines that can be run.")] = False,
    concurrency: Annotated[int, typer.Option(min=1, help="Lines in flight at each backend.")] = 64,
    engine: Annotated[Engine, typer.Option(help="local: this process; ray: a Ray cluster.")] = Engine.LOCAL,
    workers: Annotated[int, typer.Option(min=1, help="ray: replicas of each backend.")] = 1,
    address: Annotated[
        str | None, typer.Option(help="ray: HOST:PORT of a cluster; default: Ray is started here.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Answer the job within its goal; after a stop the same command goes on."""
    goal, bar = _goal(budget, min_accuracy, policy), _bar(self_check, accept)
    if goal is None:
        raise UsageError("Give one goal.", hint=GOALS)
    if engine is Engine.LOCAL and (workers > 1 or address is not None):
        raise UsageError("--workers and --address are for --engine ray.", hint="Add --engine ray.")
    loaded, fitted, folder = _load(pool, router)
    place = Placement(loaded, fitted, folder, engine, concurrency, workers, address)
    summary = asyncio.run(_run(place, source, Wish(goal, bar, skip_bad), output))
    if as_json:
        write_json(summary.to_dict())
    else:
        draw_summary(summary, output)


@app.command(epilog="Example: foresight batch status answers.jsonl")
def status(
    output: Annotated[Path, typer.Argument(metavar="OUT", help="The output of a run.")], as_json: Json = False
) -> None:
    """Say how far a job is, while it runs or after a stop."""
    from serving.batch.status import status_of

    found = status_of(output)
    if as_json:
        write_json(found.to_dict())
        return
    word = "finished" if found.finished else "not finished"
    of = "" if found.lines is None else f" of {found.lines}"
    out().print(
        f"{output}: {word}; {found.answered}{of} answered, {found.refused} refused,"
        + (f" {found.rechecked} asked again," if found.rechecked else "")
        + f" {money(found.spent_usd)} spent"
    )


async def _run(place: Placement, source: Path, wish: Wish, output: Path) -> Summary:
    from serving.batch.batch import Batch

    async with place.standing(wish.goal) as standing:
        batch = Batch(source, place.router, wish.goal, reader=standing.reader, self_check=wish.bar)
        with progress() as told:
            return await batch.run(
                output,
                standing.engine,
                skip_bad=wish.skip_bad,
                progress=reading(),
                told=told,
                ready=standing.ready,
            )


@dataclass(frozen=True)
class Wish:
    """What a job is for, and how it is run."""

    goal: Goal
    bar: Bar | None
    skip_bad: bool


@dataclass(frozen=True)
class Placement:
    """Where a job runs."""

    pool: Pool
    router: Router
    folder: Path
    engine: Engine
    concurrency: int
    workers: int
    address: str | None

    def standing(self, goal: Goal) -> AbstractAsyncContextManager[Standing]:
        """The engine, set up."""
        from router.router import Router
        from serving.batch.engines import local, on_ray

        if self.engine is Engine.LOCAL:
            return local(self.pool, self.concurrency)
        load = partial(Router.load, str(self.folder.resolve()), pool=self.pool)
        return on_ray(
            self.pool,
            load,
            goal,
            workers=self.workers,
            concurrency=self.concurrency,
            address=self.address,
        )


def _goal(budget: float | None, floor: float | None, policy: str | None) -> Goal | None:
    from router.allocation.spending import ForAccuracy, ForBudget, ForPolicy

    given = [value for value in (budget, floor, policy) if value is not None]
    if len(given) > 1:
        raise UsageError(f"Give one goal, not {len(given)}.", hint=GOALS)
    if budget is not None:
        if not 0 < budget < float("inf"):
            raise UsageError(f"--budget must be above 0, not {budget}.", param="budget")
        return ForBudget(budget)
    if floor is not None:
        if not 0 <= floor <= 1:
            raise UsageError(f"--min-accuracy must be between 0 and 1, not {floor}.", param="min_accuracy")
        return ForAccuracy(floor)
    return None if policy is None else ForPolicy(policy)


def _bar(self_check: bool, accept: float | None) -> Bar | None:
    from router.policies import Bar

    if not self_check:
        if accept is not None:
            raise UsageError("--accept is for --self-check.", param="accept", hint="Add --self-check.")
        return None
    return Bar() if accept is None else Bar(accept)


def _load(path: Path, folder: Path | None) -> tuple[Pool, Router, Path]:
    from router.configuration.pool import Pool
    from router.router import Router

    pool = Pool.load(path)
    folder = folder or pool.router
    if folder is None:
        raise UsageError(f"{path} names no fitted router.", param="router", hint="Add --router DIR.")
    return pool, Router.load(folder, pool=pool), folder
