"""``foresight recalibrate``: levels and slopes from the feedback in a ledger."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from probes.errors import UsageError
from router.cli.output import out, say, write_json
from router.cli.run.ledger import DAY_S

if TYPE_CHECKING:
    from router.router import Router
    from router.update.recalibration import Change, Rated

EXAMPLE = "Example: foresight recalibrate router/ --ledger foresight-ledger.db"


def recalibrate(
    router: Annotated[Path, typer.Argument(metavar="ROUTER", help="A fitted router's folder.")],
    ledger: Annotated[
        str, typer.Option(help="A SQLite file, or postgresql://user:password@host/name.")
    ] = "foresight-ledger.db",
    days: Annotated[float, typer.Option(min=0.001, help="Feedback of the last so many days.")] = 90.0,
    min_labels: Annotated[int, typer.Option(min=10, help="Rated answers that a candidate needs.")] = 30,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Default: the router itself.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change, and write nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fit each candidate's level and slope to rated answers, where that makes its probabilities better.

    Ratings are fair only if who is rated does not hang on how good the answer was: rate a random sample.
    """
    from router.router import Router
    from router.update.recalibration import recalibrate as refit

    loaded = Router.load(router)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    fresh, changes = refit(loaded, _rated(loaded, ledger, days), at=now, least=min_labels)
    adjusted = [name for name, change in changes.items() if change.adjusted]
    place = output or router
    if adjusted and not dry_run:
        fresh.save(place)
    if as_json:
        rows = {name: change.to_dict() for name, change in changes.items()}
        written = str(place) if adjusted and not dry_run else None
        write_json({"router": written, "adjusted": adjusted, "candidates": rows})
        return
    _draw(changes)
    if not adjusted:
        say("Nothing was changed: no candidate's probabilities would surely become better.")
    elif dry_run:
        say(f"Would change: {', '.join(adjusted)}.")
    else:
        say(f"Wrote {place}; changed: {', '.join(adjusted)}. A running gateway must load it again.")


def _rated(router: Router, ledger: str, days: float) -> dict[str, Rated]:
    """Rated answers that this fit predicted, by candidate."""
    import numpy as np

    from router.update.recalibration import Rated
    from router.version import version_of
    from serving.ledger.database import open_ledger
    from serving.ledger.reading.calibration import labels
    from serving.ledger.reading.window import Window

    database = open_ledger(ledger)
    window = Window.last(days * DAY_S, time.time() + DAY_S)
    try:
        found = list(labels(database, window))
    finally:
        database.close()
    version = version_of(router)
    own = [label for label in found if label.router == version]
    if found and not own:
        raise UsageError(
            f"All {len(found)} rated answers in {database.shown} were predicted by another fit.",
            param="ledger",
            hint="Name the router that the gateway served, or wait for feedback on this one.",
        )
    by_name: dict[str, list[tuple[float, float]]] = {}
    for label in own:
        by_name.setdefault(label.candidate, []).append((label.success, label.correct))
    pairs = {name: np.array(values, dtype=np.float64) for name, values in by_name.items()}
    return {name: Rated(values[:, 0], values[:, 1]) for name, values in pairs.items()}


def _draw(changes: dict[str, Change]) -> None:
    heads = (
        "candidate",
        "labels",
        "observed",
        "predicted",
        "after",
        "ECE",
        "after",
        "Brier",
        "after",
        "ranking",
        "",
    )
    table = Table(*heads, title="Calibration, after: on answers that the fit did not see")
    for column in table.columns[1:-2]:
        column.justify = "right"
    for name, change in changes.items():
        if change.before is None or change.after is None or change.canary is None:
            table.add_row(name, str(change.n_labels), *[""] * 8, "too few labels", style="dim")
            continue
        before, after = change.before, change.after
        numbers = (change.observed, before.predicted, after.predicted, before.ece, after.ece)
        shown = [f"{value:.3f}" for value in (*numbers, before.brier, after.brier)]
        what = f"logit → {change.level:+.2f} {change.slope:+.2f}·logit" if change.adjusted else "kept"
        table.add_row(name, str(change.n_labels), *shown, change.canary.verdict, what)
    out().print(table)
