"""``foresight ladder demo``: the reference pool behind the gateway, questioned before your eyes."""

from __future__ import annotations

import asyncio
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from router.cli.output import money, out, progress, say

if TYPE_CHECKING:
    from eval.ladder.trial import Trial
    from router.configuration.pool import Pool
    from router.router import Router
    from serving.flow.gateway import Gateway

EXAMPLE = "Example: foresight ladder demo --exit --json demo.json"
SEED = 2026
"""Of the held-out questions that the demo asks."""


def demo(
    questions: Annotated[int, typer.Option("-n", "--questions", min=1, help="How many to ask.")] = 100,
    stop: Annotated[bool, typer.Option("--exit", help="Stop when all are answered.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the totals.")
    ] = None,
    pictures: Annotated[Path | None, typer.Option(metavar="DIR", help="Draw frontier and families.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    seed: Annotated[int, typer.Option(help="Same seed, same questions.")] = SEED,
) -> None:
    """Start vLLM and the gateway, ask held-out questions as `auto`, show what was saved."""
    from eval.ladder import FOLDER
    from router.configuration.pool import Pool
    from router.router import Router

    pool = Pool.load(FOLDER / "pool.yaml")
    router = Router.load(FOLDER / "router", pool=pool)
    plan = Plan(questions, seed, port, stop, json_file, pictures)
    asyncio.run(_demo(pool, router, plan))


@dataclass(frozen=True)
class Plan:
    """What the command line asked for."""

    questions: int
    seed: int
    port: int
    stop: bool
    json_file: Path | None
    pictures: Path | None


async def _demo(pool: Pool, router: Router, plan: Plan) -> None:
    from eval.ladder.questions import draw
    from eval.ladder.trial import run_trial, summary
    from serving.assemble import make_gateway
    from serving.run import listening
    from serving.settings import GatewaySettings

    say("Starting vLLM and the gateway …")
    with tempfile.TemporaryDirectory(prefix="foresight-") as logs:
        gateway = make_gateway(pool, router, settings=GatewaySettings(port=plan.port), log_folder=Path(logs))
        async with listening(gateway) as (_, url):
            await gateway.ready()
            with progress("Asking") as told:
                trial = await run_trial(url, pool, draw(plan.questions, plan.seed), progress=told)
            best = router.fitted.safe_candidate
            totals = {**summary(trial, best), **await _vllm(gateway)}
            _write(plan, trial, totals)
            if plan.questions <= 200:
                _show_questions(trial)
            _show_totals(totals)
            if not plan.stop:
                say(f"\nStill serving at {url} (model: auto). Stop with Ctrl-C.")
                await asyncio.Event().wait()


async def _vllm(gateway: Gateway) -> dict[str, Any]:
    """vLLM's own word that it answered: its version, and each server's count of finished requests."""
    import aiohttp
    from prometheus_client.parser import text_string_to_metric_families

    from serving.backends.vllm import ManagedVllm

    versions, finished = set(), {}
    async with aiohttp.ClientSession() as session:
        for name, backend in gateway.fleet.backends.items():
            if not isinstance(backend, ManagedVllm):
                continue
            async with session.get(f"{backend.url}/version") as response:
                versions.add((await response.json())["version"])
            async with session.get(f"{backend.url}/metrics") as response:
                families = text_string_to_metric_families(await response.text())
                samples = [s for f in families if f.name == "vllm:request_success" for s in f.samples]
            finished[name] = int(sum(s.value for s in samples if s.name.endswith("_total")))
    return {"backend": "vllm", "vllm_version": ", ".join(sorted(versions)), "vllm_requests": finished}


def _show_questions(trial: Trial) -> None:
    title = "Probability of a right answer, before it is given"
    table = Table("question", *trial.candidates, "chosen", "", "cost", title=title)
    for i, question in enumerate(trial.questions):
        shown = question.prompt if len(question.prompt) <= 60 else question.prompt[:57] + "…"
        chances = [
            f"[bold]{p:.2f}[/]" if name == trial.chosen[i] else f"{p:.2f}"
            for name, p in zip(trial.candidates, trial.success[i], strict=True)
        ]
        verdict = "[green]right[/]" if trial.routed_correct[i] else "[red]wrong[/]"
        table.add_row(shown, *chances, trial.chosen[i], verdict, money(trial.routed_cost_usd[i]))
    out().print(table)


def _show_totals(totals: dict[str, Any]) -> None:
    n = totals["questions"]
    named = {
        "routed": "Foresight",
        "cheapest": totals["cheapest"],
        "best": totals["best"],
        "oracle": "oracle",
    }
    table = Table("", "right", "cost", "cost of the best", title=f"{n:,} held-out questions")
    for way, label in named.items():
        cost = totals["cost_usd"][way]
        low, high = totals["intervals"]["accuracy"][way]
        right = f"{totals['accuracy'][way]:.1%} [dim]({low:.1%} to {high:.1%})[/]"
        table.add_row(f"{way}: {label}", right, money(cost), f"{cost / totals['cost_usd']['best']:.0%}")
    out().print(table)
    served = ", ".join(f"{name} {count}" for name, count in totals["served_by"].items() if count)
    out().print(f"Served by: {served}. The scout's share of the routed cost: {totals['scout_share']:.1%}.")

    answered = ", ".join(f"{name} {count:,}" for name, count in totals["vllm_requests"].items())
    out().print(f"vLLM {totals['vllm_version']} counts finished requests: {answered}.")


def _write(plan: Plan, trial: Trial, totals: dict[str, Any]) -> None:
    from eval.ladder.figures import by_family, separation
    from eval.ladder.pictures import write_pictures
    from eval.tables import write_atomically

    if plan.json_file:
        figures = {**totals, "separation": separation(trial), "families": by_family(trial)}
        write_atomically(plan.json_file, lambda file: json.dump(figures, file, indent=2))
    if plan.pictures:
        write_pictures(trial, totals["best"], plan.pictures)
