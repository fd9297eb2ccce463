"""``foresight forecast``: what models will be able to do, before anybody pays to let them generate."""

from __future__ import annotations

import typer

from router.cli.forecast import checkpoint, context, curve, rank

app = typer.Typer(help="Foresee a model's success without letting it generate.", no_args_is_help=True)
app.command("checkpoint", epilog=checkpoint.EXAMPLE)(checkpoint.checkpoint)
app.command("rank", epilog=rank.EXAMPLE)(rank.rank)
app.command("curve", epilog=curve.EXAMPLE)(curve.curve)
app.command("context", epilog=context.EXAMPLE)(context.context)
