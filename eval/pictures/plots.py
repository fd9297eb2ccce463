"""The cost-accuracy frontier as a picture: every router, every single candidate, their hull, the oracle."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from eval.metrics.curves import Curve
from eval.metrics.frontier import hull
from eval.pictures import svg
from eval.tables import Floats, write_atomically
from probes.errors import UsageError

_BASELINE_COLOURS = ("s1", "s2", "s3", "s4", "s5")


@dataclass(frozen=True)
class Line:
    """A router's curve.

    Attributes
    ----------
    name : str
        For the legend.
    curve : Curve
        Points in knob order; costs in US dollars a query.
    main : bool
        Drawn thick, in the main colour.
    band : pair of ndarray, optional
        Lower and upper accuracy at each point.
    """

    name: str
    curve: Curve
    main: bool = False
    band: tuple[Floats, Floats] | None = None


@dataclass(frozen=True)
class Mark:
    """A point of interest.

    Attributes
    ----------
    name : str
        Its label.
    cost, accuracy : float
        Where it stands.
    kind : {'candidate', 'oracle', 'chosen'}
        A single candidate, the oracle, or a router at its frozen knob.
    """

    name: str
    cost: float
    accuracy: float
    kind: Literal["candidate", "oracle", "chosen"] = "candidate"


def frontier(
    lines: Sequence[Line],
    marks: Sequence[Mark],
    *,
    title: str = "",
    subtitle: str = "",
    theme: svg.Theme = "auto",
    standalone: bool = True,
    unit: str = "US$ per 1,000 questions",
    per: float = 1000.0,
) -> str:
    """Draw cost against accuracy.

    Parameters
    ----------
    lines : sequence of Line
        Routers, as they are; nothing is smoothed and no running maximum taken.
    marks : sequence of Mark
        Single candidates (their convex hull is drawn too), the oracle, chosen points. Candidates that are
        far below everything that a router does are left out.
    title, subtitle : str
        Above the plot.
    theme : {'auto', 'light', 'dark'}
        Colours of a standalone file.
    standalone : bool
        Carries its own stylesheet; without, it is meant for the inside of a styled page.
    unit, per : str, float
        Label of the cost axis and what a cost is multiplied by.

    Returns
    -------
    str
        An ``<svg>`` element.

    Raises
    ------
    UsageError
        There is no point to draw.
    """
    singles = [mark for mark in marks if mark.kind == "candidate"]
    chart = _canvas(lines, marks, bool(title), per)
    marks = [mark for mark in marks if mark.accuracy >= chart.y.low]
    _axes(chart, unit)
    if singles:
        _draw_hull(chart, singles, per)
    colours = iter(_BASELINE_COLOURS * (1 + len(lines) // len(_BASELINE_COLOURS)))
    entries = [(line.name, "stroke-main thick" if line.main else f"stroke-{next(colours)}") for line in lines]
    drawn = sorted(zip(lines, entries, strict=True), key=lambda pair: pair[0].main)
    for line, (_, class_) in drawn:
        _draw_line(chart, line, class_, per)
    _draw_marks(chart, marks, per)
    main_first = [entry for _, entry in sorted(drawn, key=lambda pair: not pair[0].main)]
    _legend(chart, [*main_first, ("singles' hull", "stroke-soft dash")])
    if title:
        chart.add(svg.text(24, 32, title, "title"), svg.text(24, 52, subtitle, "soft"))
    css = svg.stylesheet(theme) if standalone else None
    return chart.render(title or "Cost against accuracy", css=css)


def write_frontier(path: str | Path, drawing: str) -> None:
    """Write a drawing as an ``.svg`` file."""
    write_atomically(Path(path), lambda handle: handle.writelines([drawing, "\n"]))


def _canvas(lines: Sequence[Line], marks: Sequence[Mark], titled: bool, per: float) -> svg.Chart:
    kept = [mark for mark in marks if mark.kind != "candidate"] + _on_hull(marks)
    costs = [line.curve.cost for line in lines] + [np.array([mark.cost]) for mark in marks]
    heights = [line.curve.accuracy for line in lines] + [np.array([mark.accuracy]) for mark in kept]
    if not costs:
        raise UsageError("There is nothing to draw: no router and no candidate.")
    cost, accuracy = np.concatenate(costs) * per, np.concatenate(heights)
    log = bool(cost.min() > 0 and cost.max() / cost.min() > 8)
    pad = 1.25 if log else 1.0
    spare = 0.0 if log else 0.06 * float(np.ptp(cost) or cost.max() or 1.0)
    low, high = float(cost.min()) / pad - spare, float(cost.max()) * pad + spare
    room = max(0.01, 0.06 * float(np.ptp(accuracy)))
    bottom, top = float(accuracy.min()) - room, min(1.0, float(accuracy.max()) + room)
    head = 90 if titled else 34
    return svg.Chart(
        860, 520, svg.Scale(low, high, 62, 690, log), svg.Scale(max(0.0, bottom), top, 462, head)
    )


def _axes(chart: svg.Chart, unit: str) -> None:
    ticks = chart.y.ticks()
    decimals = 0 if all(abs(100 * tick - round(100 * tick)) < 1e-6 for tick in ticks) else 1
    chart.axes(
        unit,
        "accuracy",
        [_money(value) for value in chart.x.ticks()],
        [f"{100 * value:.{decimals}f}%" for value in ticks],
    )


def _money(value: float) -> str:
    if value == 0:
        return "0"
    return f"{value:,.0f}" if value >= 10 else f"{value:.3g}" if value >= 1e-4 else f"{value:.0e}"


def _draw_hull(chart: svg.Chart, singles: Sequence[Mark], per: float) -> None:
    corners = hull(np.array([mark.cost for mark in singles]), np.array([mark.accuracy for mark in singles]))
    # Straight in money is curved on a logarithmic axis, so the coin toss is drawn in small steps.
    cost = np.interp(np.linspace(0, len(corners.cost) - 1, 200), np.arange(len(corners.cost)), corners.cost)
    accuracy = np.interp(cost, corners.cost, corners.accuracy)
    chart.line((cost * per).tolist(), accuracy.tolist(), "stroke-soft dash")


def _draw_line(chart: svg.Chart, line: Line, class_: str, per: float) -> None:
    cost = (line.curve.cost * per).tolist()
    within = partial(np.clip, a_min=chart.y.low, a_max=chart.y.high)
    if line.band is not None:
        lower, upper = (
            [(chart.x(x), chart.y(float(y))) for x, y in zip(cost, within(edge), strict=True)]
            for edge in line.band
        )
        colour = class_.split()[0].removeprefix("stroke-")
        chart.add(svg.path([*upper, *reversed(lower)], f"band fill-{colour}", closed=True))
    chart.line(cost, line.curve.accuracy.tolist(), class_)


def _draw_marks(chart: svg.Chart, marks: Sequence[Mark], per: float) -> None:
    singles = [mark for mark in marks if mark.kind == "candidate"]
    named = _worth_naming(singles)
    taken: list[tuple[float, float, float, float]] = []
    classes = {"candidate": "fill-ink", "oracle": "fill-good", "chosen": "fill-main"}
    for mark in marks:
        tip = f"{mark.name}: {100 * mark.accuracy:.1f}% at {_money(mark.cost * per)}"
        radius = 6.5 if mark.kind == "chosen" else 5.0 if mark.kind == "oracle" else 4.0
        chart.dot(mark.cost * per, mark.accuracy, classes[mark.kind], tip, radius)
        x, y = chart.x(mark.cost * per), chart.y(mark.accuracy)
        taken.append((x - radius, y - radius, x + radius, y + radius))
    for mark in marks:
        if mark.kind != "candidate" or mark in named:
            _label(chart, mark, per, taken)


def _worth_naming(singles: Sequence[Mark]) -> list[Mark]:
    """All of a small pool; of a large one the corners of the hull."""
    return list(singles) if len(singles) <= 9 else _on_hull(singles)


def _on_hull(marks: Sequence[Mark]) -> list[Mark]:
    singles = [mark for mark in marks if mark.kind == "candidate"]
    if not singles:
        return []
    corners = hull(np.array([mark.cost for mark in singles]), np.array([mark.accuracy for mark in singles]))
    return [singles[int(position)] for position in corners.knob]


def _label(chart: svg.Chart, mark: Mark, per: float, taken: list[tuple[float, float, float, float]]) -> None:
    """Write a mark's name where it covers nothing, trying eight places; drop it when all are taken."""
    x, y, width = chart.x(mark.cost * per), chart.y(mark.accuracy), 6.4 * len(mark.name)
    places = [(9, 4), (9, -9), (9, 17), (-9 - width, 4), (-9 - width, -9), (-9 - width, 17)]
    places += [(-width / 2, -12), (-width / 2, 20)]
    for dx, dy in places:
        box = (x + dx, y + dy - 11, x + dx + width, y + dy + 3)
        inside = box[0] > chart.x.start and box[2] < chart.x.stop + 8 and box[3] < chart.y.start
        if inside and not any(_overlap(box, other) for other in taken):
            taken.append(box)
            style = "halo strong" if mark.kind == "chosen" else "halo"
            chart.add(svg.text(x + dx, y + dy, mark.name, style))
            return


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _legend(chart: svg.Chart, entries: Iterable[tuple[str, str]]) -> None:
    for row, (name, class_) in enumerate(entries):
        y = chart.y.stop + 8 + 22 * row
        chart.add(svg.path([(708, y), (734, y)], f"line {class_}"))
        chart.add(svg.text(742, y + 4, name, "strong" if "thick" in class_ else ""))
