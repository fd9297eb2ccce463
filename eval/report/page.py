"""Fill the page."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from eval.harness.console import cells, whole
from eval.harness.contestants import MIXTURES
from eval.harness.details import Details
from eval.harness.result import EvaluationResult, RouterResult
from eval.pictures import plots, svg
from eval.report import charts
from eval.tables import write_atomically
from probes.errors import MissingExtraError


@dataclass(frozen=True)
class Card:
    """A headline figure."""

    label: str
    value: str
    note: str
    share: tuple[float, float, float] | None = None
    """Low end, value and high end of a share in [0, 1], drawn as a bar."""


def render(result: EvaluationResult, *, command: str = "") -> str:
    """The report as one HTML document without outside references.

    Parameters
    ----------
    result : EvaluationResult
        Of `eval.harness.evaluate`.
    command : str
        The command line that made it, for the last section.

    Raises
    ------
    MissingExtraError
        jinja2 is not installed (extra ``eval``).
    """
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
    except ImportError as exc:
        raise MissingExtraError(
            "The report needs jinja2.", hint='pip install "foresight-router[eval]"'
        ) from exc
    folder = files("eval.report")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["percent"] = lambda value, digits=1: _percent(value, digits)
    environment.filters["safe_svg"] = Markup
    template = environment.from_string((folder / "page.html.j2").read_text(encoding="utf-8"))
    style = svg.stylesheet() + (folder / "page.css").read_text(encoding="utf-8")
    return template.render(style=Markup(style), command=command, **_content(result))


def write_report(result: EvaluationResult, path: str | Path, *, command: str = "") -> None:
    """Write the report; the file appears complete or not at all."""
    page = render(result, command=command)
    write_atomically(Path(path), lambda handle: handle.writelines([page]))


def _content(result: EvaluationResult) -> dict[str, Any]:
    shown = next(iter(result.details), None)
    details: Details | None = result.details.get(shown) if shown else None
    return {
        "result": result,
        "details": details,
        "headline": headline(result),
        "cards": _cards(result),
        "frontier": plots.frontier(*_shapes(result), standalone=False) if result.priced else "",
        "rows": [
            (name, name == result.default, cells(router, result.priced))
            for name, router in result.routers.items()
        ],
        "reliability": _reliability(result, details) if details else [],
        "zones": charts.zones(details.zones) if details else "",
        "costs": _costs(result, details) if details else "",
    }


def headline(result: EvaluationResult) -> str:
    """What was found, in one sentence that a finance person can use."""
    best = result.best_single
    if not result.priced:
        name, router = max(result.routers.items(), key=lambda item: item[1].accuracy)
        return (
            f"Without costs, only accuracy can be compared: {name} answers {router.accuracy:.1%} right, "
            f"{best.name} alone {best.accuracy:.1%}."
        )
    if result.default == "best-single":
        return (
            f"No router is shown to save money safely on this set: use {best.name} for every query "
            f"({best.accuracy:.1%} right at ${1000 * best.cost:.3g} per 1,000)."
        )
    router = result.routers[result.default]
    low, high = router.saving_ci
    below, above = (100 * edge for edge in router.accuracy_gap_ci)
    return (
        f"Routing with {result.default} costs {whole(1 - router.cost_ratio)} less than {best.name} for every "
        f"query (95% interval {whole(low)} to {whole(high)}), with {router.accuracy:.1%} right against "
        f"{best.accuracy:.1%} (difference {below:+.1f} to {above:+.1f} points)."
    )


def _cards(result: EvaluationResult) -> list[Card]:
    best = result.best_single
    cards = [
        Card("Best single candidate", f"{best.accuracy:.1%}", best.name),
        Card("Oracle", f"{result.oracle.accuracy:.1%}", "cheapest right answer, in hindsight"),
    ]
    name = result.default if result.default in result.routers else next(iter(result.routers), None)
    if name is None:
        return cards
    router = result.routers[name]
    low, high = router.saving_ci
    below, above = (100 * edge for edge in router.accuracy_gap_ci)
    gap = f"{below:+.1f} to {above:+.1f} points".replace("-", "−")
    first = [Card(f"Accuracy of {name}", f"{router.accuracy:.1%}", f"{gap} against {best.name}")]
    if result.priced:
        value = 1 - router.cost_ratio
        shown = _within(low, value, high) if np.isfinite([low, value, high]).all() else None
        saving = Card(
            f"Saved by {name}; knob set for {best.name} less {100 * result.tolerance:g} points",
            whole(value),
            f"95% interval: {whole(low)} to {whole(high)}",
            shown,
        )
        first.insert(0, saving)
        note = f"instead of ${1000 * best.cost:.2g}"
        first.append(Card("Cost of 1,000 queries", f"${1000 * router.cost:.2g}", note))
    return [*first, *cards]


def _within(low: float, value: float, high: float) -> tuple[float, float, float]:
    """The part of an interval that fits on a bar from 0 to 1."""
    start, middle, end = np.clip([low, value, high], 0.0, 1.0)
    return float(start), float(middle), float(end)


def frontier_drawing(
    result: EvaluationResult, *, title: str, subtitle: str, theme: svg.Theme = "auto"
) -> str:
    """The frontier as a picture of its own, for a README."""
    return plots.frontier(*_shapes(result), title=title, subtitle=subtitle, theme=theme)


def _shapes(result: EvaluationResult) -> tuple[list[plots.Line], list[plots.Mark]]:
    """What the frontier shows; of the coin tosses only the hull, which the plot draws itself."""
    main = _main(result)
    lines = [
        plots.Line(name, router.curve, name == main, router.band if name == main else None)
        for name, router in result.routers.items()
        if name not in MIXTURES
    ]
    marks = [plots.Mark(point.name, point.cost, point.accuracy) for point in result.singles]
    marks.append(plots.Mark("oracle", result.oracle.cost, result.oracle.accuracy, "oracle"))
    if main not in MIXTURES:
        chosen = result.routers[main]
        marks.append(plots.Mark(main, chosen.cost, chosen.accuracy, "chosen"))
    return lines, marks


def _main(result: EvaluationResult) -> str:
    return result.default if result.default in result.routers else next(iter(result.routers))


def _reliability(result: EvaluationResult, details: Details) -> list[str]:
    router: RouterResult = result.routers[details.router]
    names = charts.worth_showing(details.reliability, router.share)
    drawings = [charts.reliability(details.reliability["all"], "all candidates")]
    return drawings + [charts.reliability(details.reliability[name], charts.short(name)) for name in names]


def _costs(result: EvaluationResult, details: Details) -> str:
    if not result.priced:
        return ""
    share = result.routers[details.router].share
    return charts.costs(details.cost_by_candidate, share, details.scout_cost)


def _percent(value: float, digits: int = 1) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.{digits}f}%"
