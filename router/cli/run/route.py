"""``foresight route``: explain one decision."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from router.cli.output import money, out, write_json

if TYPE_CHECKING:
    from router.decisions.decision import Decision
    from router.router import Router

EXAMPLE = 'Example: foresight route router/ "What is 17 + 25?" --policy cheapest-likely'


def route(
    router: Annotated[Path, typer.Argument(metavar="ROUTER", help="A fitted router's folder.")],
    prompt: Annotated[
        str, typer.Argument(metavar="PROMPT", help="Text, a JSON list of messages, or - for standard input.")
    ],
    policy: Annotated[str | None, typer.Option(help="A policy of the pool, or a rule.")] = None,
    quality: Annotated[float | None, typer.Option(help="From cheapest (0) to best (1).")] = None,
    min_success: Annotated[float | None, typer.Option(help="Least success probability.")] = None,
    max_cost: Annotated[float | None, typer.Option(help="Most expected cost in US dollars.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Candidates that must not answer.")] = None,
    pool: Annotated[Path | None, typer.Option(help="A pool file with today's prices and policies.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the decision as JSON.")] = False,
) -> None:
    """Decide one query, answer nothing, and say why."""
    from router.configuration.pool import Pool
    from router.router import Router

    asked = _prompt(sys.stdin.read() if prompt == "-" else prompt)
    loaded = Router.load(router, pool=Pool.load(pool) if pool else None)
    decision = loaded.decide(
        asked,
        policy=policy,
        quality=quality,
        min_success=min_success,
        max_cost_usd=max_cost,
        exclude=exclude or (),
    )
    if as_json:
        write_json(decision.to_dict())
    else:
        _draw(decision, loaded)


def _prompt(text: str) -> Any:
    """Text, or the messages that it spells in JSON."""
    if text.lstrip().startswith("["):
        try:
            messages = json.loads(text)
        except ValueError:
            return text
        if isinstance(messages, list) and all(isinstance(message, dict) for message in messages):
            return messages
    return text


def _draw(decision: Decision, router: Router) -> None:
    table = Table(
        "", "candidate", "success", "expected tokens", "expected cost", "eligible", header_style="bold"
    )
    for column in table.columns[2:5]:
        column.justify = "right"
    others = [name for name in router.pool.names if name not in decision.ranking]
    for name in (*decision.ranking, *others):
        chosen = name == decision.candidate
        table.add_row(
            "→" if chosen else "",
            name,
            f"{decision.success[name]:.2f}",
            f"{decision.expected_output_tokens[name]:.0f}",
            money(decision.expected_cost_usd[name]),
            decision.ineligible.get(name, "yes"),
            style="bold green" if chosen else "dim" if name in decision.ineligible else "",
        )
    console = out()
    console.print(table)
    console.print(f"[bold green]{decision.candidate}[/]: {decision.reason}", soft_wrap=True)
    novelty = "not read" if decision.novelty is None else f"novelty {decision.novelty:.3g}"
    console.print(
        f"[dim]policy {decision.policy}, {decision.input_tokens} prompt tokens, {novelty},"
        f" scout {money(decision.scout_cost_usd)}[/]",
        soft_wrap=True,
    )
