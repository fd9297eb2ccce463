"""The comparison as a table for the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from eval.harness.result import EvaluationResult, Point, RouterResult

if TYPE_CHECKING:
    from rich.table import Table

_COLUMNS = ("AUROC", "within", "ECE", "accuracy", "cost ratio", "saving 95%", "gap 95% (points)", "P-AUCCC")


def table(result: EvaluationResult) -> Table:
    """Routers, the best single candidate and the oracle, one row each.

    The router to deploy is bold. Figures that do not apply are dashes.
    """
    from rich.table import Table

    title = f"{result.outcomes}: {result.queries:,} queries × {len(result.singles)} candidates"
    shown = Table("", title=title, caption=caption(result), caption_justify="left")
    for name in _COLUMNS:
        shown.add_column(name, justify="right")
    for name, router in result.routers.items():
        style = "bold" if name == result.default else None
        shown.add_row(name, *cells(router, result.priced), style=style)
    shown.add_section()
    for label, point in (("best single", result.best_single), ("oracle", result.oracle)):
        style = "bold" if label == "best single" and result.default == "best-single" else "dim"
        shown.add_row(label, *_point_cells(point, result), style=style)
    return shown


def caption(result: EvaluationResult) -> str:
    """What the numbers mean, in two sentences, and the notes."""
    words = (
        f"Knobs frozen on calibration data for the accuracy of {result.best_single.name} less "
        f"{100 * result.tolerance:g} points; means over {len(result.seeds)} grouped splits."
    )
    return "\n".join([words, *(f"Note: {note}" for note in result.notes)])


def cells(router: RouterResult, priced: bool) -> list[str]:
    """The figures of a router as text."""
    money: Callable[[str], str] = lambda shown: shown if priced else "–"  # noqa: E731
    low, high = router.saving_ci
    below, above = router.accuracy_gap_ci
    return [
        _number(router.auroc),
        _number(router.auroc_within),
        _number(router.ece),
        f"{router.accuracy:.1%}",
        money(_number(router.cost_ratio, 2)),
        money(f"{whole(low)} to {whole(high)}"),
        f"{100 * below:+.1f} to {100 * above:+.1f}",
        money(_number(router.p_auccc)),
    ]


def _point_cells(point: Point, result: EvaluationResult) -> list[str]:
    known = result.priced and result.best_single.cost > 0
    ratio = _number(point.cost / result.best_single.cost, 2) if known else "–"
    return ["–", "–", "–", f"{point.accuracy:.1%}", ratio, "–", "–", "–"]


def whole(share: float) -> str:
    """A share in whole per cent, without a sign before zero."""
    return "–" if math.isnan(share) else f"{round(share, 2) + 0.0:.0%}"


def _number(value: float, digits: int = 3) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"
