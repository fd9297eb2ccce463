"""``foresight forecast curve``: the end of a training run from its beginning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from rich.table import Table

from probes.errors import DataError
from router.cli.forecast.options import Json
from router.cli.output import out, write_json

if TYPE_CHECKING:
    from eval.tables import Table as Columns
    from probes.forecast.trend.curve import Curve

EXAMPLE = "Example: foresight forecast curve accuracy.csv --at 1000000"

LEAST_RUNS = 2
"""Finished runs from which something can be learnt."""
SIZES = ("size", "length")
"""Columns that say how runs differ: parameters or compute, and length of training where t is its share."""


def curve(
    file: Annotated[
        Path,
        typer.Argument(metavar="CSV", help="Columns t and value; optional: run, size, length."),
    ],
    at: Annotated[float, typer.Option(help="The t to forecast: steps, tokens or compute.")],
    low: Annotated[float | None, typer.Option(help="Least limit, e.g. 0 for an accuracy.")] = None,
    high: Annotated[float | None, typer.Option(help="Highest limit, e.g. 1 for an accuracy.")] = None,
    alone: Annotated[
        bool, typer.Option("--alone", help="Do not learn from the file's runs that have got to --at.")
    ] = False,
    picture: Annotated[Path | None, typer.Option(metavar="SVG", help="Draw the first run.")] = None,
    as_json: Json = False,
) -> None:
    """Carry a − b·t^(−c) on from the points so far, with an interval.

    Where other runs of the file have got to --at, they teach what such curves look like.
    """
    from eval.tables import read_csv
    from probes.forecast.trend.curve import fit_curve

    runs = _runs(read_csv(file))
    done = [] if alone else [run for run in runs if run.times.max() >= at]
    bounds = None
    if low is not None or high is not None:
        bounds = (float("-inf") if low is None else low, float("inf") if high is None else high)
    rows: list[dict[str, Any]] = []
    for run in [one for one in runs if one not in done] or runs:
        others = [one for one in done if one is not run]
        if len(others) >= LEAST_RUNS:
            fitted = _learnt(run, others, at)
        else:
            others, fitted = [], fit_curve(run.times, run.values, bounds=bounds)
        edges = fitted.interval(at)
        row = {"run": run.name, "at": at, "value": _bounded(fitted(at), bounds)}
        row |= {"low": _bounded(edges[0], bounds), "high": _bounded(edges[1], bounds)}
        row |= {"limit": fitted.limit, "drop": fitted.drop, "rate": fitted.rate}
        rows.append(row | {"points": len(run.times), "siblings": len(others)})
        if picture is not None and len(rows) == 1:
            from eval.pictures.forecast_plots import curve_picture
            from eval.pictures.plots import write_frontier

            write_frontier(picture, curve_picture(fitted, run.times, run.values, at))
    if as_json:
        write_json({"curves": rows})
        return
    shown = Table("run", "points", f"at {at:g}", "95% interval", "limit", "rate", "runs learnt from")
    for row in rows:
        numbers = (f"{row['value']:.4g}", f"{row['low']:.4g} to {row['high']:.4g}", f"{row['limit']:.4g}")
        counts = str(row["points"]), str(row["siblings"])
        shown.add_row(str(row["run"]), counts[0], *numbers, f"{row['rate']:.3g}", counts[1])
    out().print(shown)


@dataclass(frozen=True, eq=False)
class _Run:
    """Times and values of one run, and those of `SIZES` that the file tells."""

    name: str
    times: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]
    sizes: tuple[float, ...]


def _learnt(run: _Run, others: Sequence[_Run], at: float) -> Curve:
    """The run's curve with the belief that finished runs teach; the end is --at for all of them."""
    from probes.forecast.trend.siblings import Siblings

    belief = Siblings.learn(
        [(one.times[one.times <= at], one.values[one.times <= at]) for one in others],
        float(run.times.max() / at),
        sizes=[one.sizes for one in others] if run.sizes else None,
    )
    return belief.foresee(run.times, run.values, at, size=run.sizes or None)


def _bounded(value: Any, bounds: tuple[float, float] | None) -> float:
    return float(value) if bounds is None else min(max(float(value), bounds[0]), bounds[1])


def _runs(table: Columns) -> list[_Run]:
    """Every run of the file, in its order."""
    times = table.numbers("t", low=1e-300, required=True)
    values = table.numbers("value", low=float("-inf"), required=True)
    names = np.array(table.text("run") if "run" in table.columns else [""] * len(times))
    sizes = [table.numbers(name, low=1e-300, required=True) for name in SIZES if name in table.columns]
    if not len(times):
        raise DataError(f"{table.path} holds no point.", param="file")
    found = []
    for name in dict.fromkeys(names.tolist()):
        rows = names == name
        told = tuple(float(column[rows][0]) for column in sizes)
        found.append(_Run(name, times[rows], values[rows], told))
    return found
