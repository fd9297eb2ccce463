"""``foresight bench``: measure the project's claims again, on this machine."""

from __future__ import annotations

from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from probes.errors import UsageError
from router.cli.output import out, say, write_json

if TYPE_CHECKING:
    from eval.benchmarks.row import Benchmark, Row

EXAMPLE = "Example: foresight bench probes --data data/ --json"

NAMES = ("probes", "policies", "gateway", "batch", "forecast")
"""Each is a package or module of ``eval.benchmarks`` with a ``benchmark``."""

MARKS = {True: "[green]met[/]", False: "[red]not met[/]", None: "–"}


def bench(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"One of: {', '.join(NAMES)}.")],
    data: Annotated[Path | None, typer.Option(help="Folder of outcome sets, one folder each.")] = None,
    work: Annotated[Path, typer.Option(help="Folder for what is kept between runs.")] = Path("runs/bench"),
    quick: Annotated[bool, typer.Option("--quick", help="Small, to see that it runs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Measure a benchmark's table: what, what it should reach, what came out, and whether that is enough."""
    from eval.benchmarks.row import Setting

    if data is not None and not data.is_dir():
        raise UsageError(f"There is no folder {data}.", param="data", hint="Give the outcome sets' parent.")
    rows: list[Row] = []
    for row in _benchmark(name)(Setting(data, work, quick)):
        rows.append(row)
        say(f"{row.what}: {row.measured}")
    if as_json:
        write_json([asdict(row) for row in rows])
    else:
        out().print(_table(rows))


def _benchmark(name: str) -> Benchmark:
    if name not in NAMES:
        raise UsageError(
            f"There is no benchmark {name!r}.", param="NAME", hint=f"One of: {', '.join(NAMES)}."
        )
    benchmark: Benchmark = import_module(f"eval.benchmarks.{name}").benchmark
    return benchmark


def _table(rows: list[Row]) -> Table:
    table = Table("what", "reach", "measured", "", show_lines=True)
    for row in rows:
        table.add_row(row.what, row.reach, row.measured, MARKS[row.met])
    return table
