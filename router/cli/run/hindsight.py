"""``foresight ledger judge``: what another policy would have earned on a gateway's own traffic."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from probes.errors import UsageError
from router.cli.output import out, write_json

if TYPE_CHECKING:
    from eval.logged import Hindsight
    from eval.offpolicy import Estimate

EXAMPLE = "Example: foresight ledger judge foresight-ledger.db pool.yaml --policy careful"
DAY_S = 86_400.0


def judge(
    ledger: Annotated[
        str, typer.Argument(metavar="LEDGER", help="A SQLite file, or postgresql://user:password@host/name.")
    ],
    pool: Annotated[Path, typer.Argument(metavar="POOL", help="The pool file, with its fitted router.")],
    policy: Annotated[
        str | None, typer.Option(help="A policy of the pool, or a rule; default: the pool's own.")
    ] = None,
    days: Annotated[float, typer.Option(min=0.001, help="How far to look back, in days.")] = 90.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Estimate a policy's success and cost from rated answers whose candidates were drawn (explore)."""
    from eval.logged import Drawn, hindsight
    from router.configuration.pool import Pool
    from router.router import Router
    from serving.ledger.database import open_ledger
    from serving.ledger.reading.drawn import drawn_decisions
    from serving.ledger.reading.window import Window

    read = Pool.load(pool)
    if read.router is None:
        raise UsageError(f"{pool} names no fitted router.", param="router", hint="Set router: FOLDER in it.")
    chosen = Router.load(read.router, pool=read).policy(policy)
    database = open_ledger(ledger)
    try:
        log = [Drawn(**row) for row in drawn_decisions(database, Window.last(days * DAY_S, time.time()))]
    finally:
        database.close()
    found = hindsight(log, read.names, chosen)
    if as_json:
        write_json(found.to_dict())
    else:
        _draw(found, policy or chosen.rule)


def _draw(found: Hindsight, name: str) -> None:
    table = Table("", "right", "$ per 1,000", title=f"{name} on {found.decisions:,} rated, drawn decisions")
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("logged", f"{found.logged_correct:.1%}", f"{1000 * found.logged_cost_usd:.3g}")
    table.add_row("doubly robust", _share(found.correct), _money(found.cost_usd))
    table.add_row("inverse propensity", _share(found.correct_ips), _money(found.cost_usd_ips))
    out().print(table)
    if found.correct.decisions < 50:
        out().print(
            f"Only {found.correct.decisions:.0f} decisions speak for it: do not rely on these numbers yet."
        )


def _share(estimate: Estimate) -> str:
    return f"{estimate.value:.1%} ({estimate.low:.1%} to {estimate.high:.1%})"


def _money(estimate: Estimate) -> str:
    return f"{1000 * estimate.value:.3g} ({1000 * estimate.low:.3g} to {1000 * estimate.high:.3g})"
