"""``foresight forecast context``: how success depends on prompt length, and a router that knows it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from probes.errors import DataError, UsageError
from router.cli.forecast.options import Json
from router.cli.output import out, say, write_json

EXAMPLE = "Example: foresight forecast context outcomes/ --limit 32768 --router router/ -o longer/"


def context(
    outcomes: Annotated[Path, typer.Argument(metavar="OUTCOMES", help="Outcome set with input_tokens.")],
    candidate: Annotated[list[str] | None, typer.Option(help="Default: all that have answers.")] = None,
    limit: Annotated[
        float | None, typer.Option(help="Context window in tokens; default: the router's pool's.")
    ] = None,
    router: Annotated[Path | None, typer.Option(metavar="ROUTER", help="A fitted router to extend.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Default: the router itself.")
    ] = None,
    seen: Annotated[
        float | None, typer.Option(help="Longest prompt that the router was fitted on; default: of OUTCOMES.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Fit how success depends on prompt length, and let a router use it beyond the lengths it knows."""
    import numpy as np

    from eval.outcomes import Outcomes
    from probes.forecast.trend.lengths import fit_trend

    graded = Outcomes.load(outcomes)
    names = candidate or list(graded.candidates)
    loaded = _loaded(router)
    trends = {}
    for name in names:
        if name not in graded.candidates:
            raise UsageError(
                f"{outcomes} has no candidate {name!r} (it has {', '.join(graded.candidates)}).",
                param="candidate",
            )
        place = graded.candidates.index(name)
        tokens, correct = graded.input_tokens[:, place], graded.correct[:, place]
        told = ~np.isnan(tokens) & ~np.isnan(correct)
        if not told.any():
            raise DataError(f"{name!r} has no answer with input_tokens.", param="outcomes")
        span = None if seen is None else (float(tokens[told].min()), float(seen))
        window = _window(loaded, name) if limit is None else limit
        trends[name] = fit_trend(
            tokens[told], correct[told], limit=window, count=graded.samples[told, place], seen=span
        )
    if loaded is not None:
        from router.update.lengths import with_lengths

        place_to = output or router
        with_lengths(loaded, trends).save(str(place_to))
        say(f"Wrote {place_to}. A running gateway must load it again.")
    if as_json:
        write_json({"candidates": {name: trend.to_dict() for name, trend in trends.items()}})
        return
    table = Table("candidate", "kind", "parameters (a, α, b, β)", "error on held-out lengths")
    for name, trend in trends.items():
        numbers = ", ".join(f"{value:.3g}" for value in trend.parameters)
        errors = ", ".join(f"{kind} {value:.3f}" for kind, value in trend.held_out_error.items())
        table.add_row(name, trend.kind, numbers, errors or "too few lengths: one number")
    out().print(table)


def _loaded(router: Path | None) -> Any:
    if router is None:
        return None
    from router.router import Router

    return Router.load(router)


def _window(router: Any, name: str) -> float:
    if router is None or name not in router.pool.names:
        return float("inf")
    return float(router.pool.candidates[router.pool.index(name)].context_tokens)
