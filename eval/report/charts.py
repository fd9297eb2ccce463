"""The report's smaller drawings: reliability diagrams, agreement zones, where the money goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from eval.harness.details import Zone
from eval.pictures import svg
from probes.metrics import Reliability

_RARE = 0.01
_ZONE_CLASSES = {"all right": "fill-good", "contestable": "fill-main", "all wrong": "fill-s5"}


def reliability(curve: Reliability, title: str, *, size: int = 230) -> str:
    """Observed against predicted success; the diagonal is perfect calibration.

    The area of a dot is the share of forecasts that fell into its bin; bins with hardly any are grey.
    """
    x, y = svg.Scale(0, 1, 40, size - 10), svg.Scale(0, 1, size - 36, 28)
    chart = svg.Chart(size, size, x, y)
    for value in (0.0, 0.5, 1.0):
        chart.add(svg.tag("line", x1=x(0), x2=x(1), y1=y(value), y2=y(value), class_="grid"))
        chart.add(svg.text(x(0) - 6, y(value) + 4, f"{value:.1f}", "soft", "end"))
        chart.add(svg.text(x(value), y(0) + 16, f"{value:.1f}", "soft", "middle"))
    chart.line([0, 1], [0, 1], "stroke-soft dash")
    shares = curve.count / max(curve.count.sum(), 1)
    often = shares >= _RARE
    chart.line(curve.predicted[often].tolist(), curve.observed[often].tolist(), "stroke-main")
    for predicted, observed, share in zip(curve.predicted, curve.observed, shares, strict=True):
        tip = f"predicted {predicted:.2f}, observed {observed:.2f}, {share:.0%} of forecasts"
        radius = 2 + 9 * float(share) ** 0.5
        colour = "fill-main" if share >= _RARE else "fill-s5"
        chart.dot(float(predicted), float(observed), colour, tip, radius)
    chart.add(svg.text(x(0), 18, title, "strong"))
    chart.add(svg.text((x(0) + x(1)) / 2, size - 4, "predicted", "soft", "middle"))
    return chart.render(f"Reliability of {title}")


def zones(parts: Sequence[Zone], *, width: int = 860) -> str:
    """One bar: how much of the traffic every candidate, some, or none of them gets right."""
    chart = svg.Chart(width, 74, svg.Scale(0, 1, 0, width), svg.Scale(0, 1, 60, 0))
    start = 0.0
    for zone in parts:
        left, wide = chart.x(start), chart.x(zone.share)
        tip = svg.tag("title", f"{zone.name}: {zone.share:.1%}")
        box = {"x": left, "y": 8, "width": max(wide - 2, 1), "height": 34, "rx": 4}
        chart.add(svg.tag("rect", tip, class_=_ZONE_CLASSES[zone.name], **box))
        if wide > 44:
            label = f"{zone.share:.0%}"
            chart.add(svg.text(left + wide / 2, 30, label, "fill-paper strong", "middle"))
        if wide > 7 * len(zone.name):
            chart.add(svg.text(left + wide / 2, 62, zone.name, "soft", "middle"))
        start += zone.share
    return chart.render("Agreement of the candidates")


def costs(cost: Mapping[str, float], share: Mapping[str, float], scout: float, *, width: int = 860) -> str:
    """Bars: what each candidate and the scout cost, of 1,000 questions."""
    rows = sorted(((c, name) for name, c in cost.items() if c > 0), reverse=True)[:10]
    rows = [*rows, (scout, "scout")] if scout > 0 else rows
    total = sum(cost.values()) + scout
    if not rows or total <= 0:
        return ""
    top = max(c for c, _ in rows)
    chart = svg.Chart(width, 30 * len(rows) + 8, svg.Scale(0, top, 230, width - 240), svg.Scale(0, 1, 1, 0))
    for i, (paid, name) in enumerate(rows):
        y = 30.0 * i + 6
        wide = max(chart.x(paid) - chart.x(0), 1.5)
        class_ = "fill-s5" if name == "scout" else "fill-main"
        chart.add(svg.text(220, y + 15, short(name), "", "end"))
        chart.add(svg.tag("rect", x=230, y=y, width=wide, height=20, rx=3, class_=class_))
        answered = f", answers {share[name]:.0%}" if name in share else ""
        chart.add(svg.text(238 + wide, y + 15, f"${1000 * paid:.3g} ({paid / total:.0%}{answered})", "soft"))
    return chart.render("Where the money goes")


def short(name: str, longest: int = 30) -> str:
    """A name that fits."""
    return name if len(name) <= longest else name[: longest - 1] + "…"


def worth_showing(curves: Mapping[str, Reliability], share: Mapping[str, float], most: int = 7) -> list[str]:
    """The candidates whose reliability matters: those that answer most, else the first."""
    names = [name for name in curves if name != "all"]
    order = np.argsort([-share.get(name, 0.0) for name in names], kind="stable")
    return [names[int(i)] for i in order[:most]]
