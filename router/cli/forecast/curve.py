"""``foresight forecast curve``: the end of a training run from its beginning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from probes.errors import DataError
from router.cli.forecast.options import Json
from router.cli.output import out, write_json

if TYPE_CHECKING:
    from eval.tables import Table as Columns

EXAMPLE = "Example: foresight forecast curve accuracy.csv --at 1000000"


def curve(
    file: Annotated[Path, typer.Argument(metavar="CSV", help="Columns t and value (optional: run).")],
    at: Annotated[float, typer.Option(help="The t to forecast: steps, tokens or compute.")],
    low: Annotated[float | None, typer.Option(help="Least limit, e.g. 0 for an accuracy.")] = None,
    high: Annotated[float | None, typer.Option(help="Highest limit, e.g. 1 for an accuracy.")] = None,
    picture: Annotated[Path | None, typer.Option(metavar="SVG", help="Draw the first run.")] = None,
    as_json: Json = False,
) -> None:
    """Carry a − b·t^(−c) on from the points so far, with an interval."""
    from eval.tables import read_csv
    from probes.forecast.curve import fit_curve

    columns = _columns(read_csv(file))
    bounds = None
    if low is not None or high is not None:
        bounds = (float("-inf") if low is None else low, float("inf") if high is None else high)
    rows = []
    for run, (times, values) in columns.items():
        fitted = fit_curve(times, values, bounds=bounds)
        edges = fitted.interval(at)
        rows.append(
            {
                "run": run,
                "at": at,
                "value": float(fitted(at)),
                "low": float(edges[0]),
                "high": float(edges[1]),
            }
            | {"limit": fitted.limit, "drop": fitted.drop, "rate": fitted.rate, "points": len(times)}
        )
        if picture is not None and len(rows) == 1:
            from eval.pictures.forecast_plots import curve_picture
            from eval.pictures.plots import write_frontier

            write_frontier(picture, curve_picture(fitted, times, values, at))
    if as_json:
        write_json({"curves": rows})
        return
    shown = Table("run", "points", f"at {at:g}", "95% interval", "limit", "rate")
    for row in rows:
        numbers = (f"{row['value']:.4g}", f"{row['low']:.4g} to {row['high']:.4g}", f"{row['limit']:.4g}")
        shown.add_row(str(row["run"]), str(row["points"]), *numbers, f"{row['rate']:.3g}")
    out().print(shown)


def _columns(table: Columns) -> dict[str, tuple[list[float], list[float]]]:
    """Times and values of each run."""
    times = table.numbers("t", low=1e-300, required=True).tolist()
    values = table.numbers("value", low=float("-inf"), required=True).tolist()
    runs = table.text("run") if "run" in table.columns else [""] * len(times)
    found: dict[str, tuple[list[float], list[float]]] = {}
    for run, *pair in zip(runs, times, values, strict=True):
        for column, number in zip(found.setdefault(run, ([], [])), pair, strict=True):
            column.append(number)
    if not found:
        raise DataError(f"{table.path} holds no point.", param="file")
    return found
