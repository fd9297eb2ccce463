"""Puts the commands together; one module each."""

from __future__ import annotations

from typing import Annotated

import typer

from router.cli import forecast, init
from router.cli.errors import ErrorGroup
from router.cli.learn import add, collect, fit, import_, recalibrate
from router.cli.prove import bench, evaluate, ladder
from router.cli.run import batch, keys, ledger, route, serve

app = typer.Typer(
    name="foresight",
    cls=ErrorGroup,
    help="Routes each LLM query to the cheapest model that is likely to answer it well.",
    epilog="First steps: foresight init, then foresight serve pool.yaml",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("init", epilog=init.EXAMPLE)(init.init)
app.command("collect", epilog=collect.EXAMPLE)(collect.collect)
app.command("import", epilog=import_.EXAMPLE)(import_.import_)
app.command("fit", epilog=fit.EXAMPLE)(fit.fit)
app.command("evaluate", epilog=evaluate.EXAMPLE)(evaluate.evaluate)
app.command("route", epilog=route.EXAMPLE)(route.route)
app.command("add", epilog=add.EXAMPLE)(add.add)
app.command("serve", epilog=serve.EXAMPLE)(serve.serve)
app.command("recalibrate", epilog=recalibrate.EXAMPLE)(recalibrate.recalibrate)
app.command("bench", epilog=bench.EXAMPLE)(bench.bench)
app.add_typer(forecast.app, name="forecast")
app.add_typer(batch.app, name="batch")
app.add_typer(keys.app, name="keys")
app.add_typer(ledger.app, name="ledger")
app.add_typer(ladder.app, name="ladder")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"foresight {version('foresight-router')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of the command itself."""
