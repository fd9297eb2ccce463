"""A little vector graphics: scales, axes and marks as SVG text, coloured by CSS classes.

Charts hold no colours of their own. A stylesheet gives every class its colour for light and for dark, so
that the same drawing works in the HTML report, in a README and on paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal

Theme = Literal["auto", "light", "dark"]

INK = {
    "light": {
        "paper": "#ffffff",
        "ink": "#1b1f24",
        "soft": "#59636e",
        "grid": "#e4e8ec",
        "main": "#0b6bcb",
        "good": "#1a7f4b",
        "warn": "#b25e09",
        "bad": "#c2343f",
        "s1": "#8250df",
        "s2": "#1b7c83",
        "s3": "#bf5b16",
        "s4": "#a0406f",
        "s5": "#6b7785",
    },
    "dark": {
        "paper": "#14181d",
        "ink": "#e8ecf1",
        "soft": "#9aa5b1",
        "grid": "#2c333b",
        "main": "#58a6ff",
        "good": "#4cc38a",
        "warn": "#f0a04b",
        "bad": "#ff7b81",
        "s1": "#bd93f9",
        "s2": "#4fc3c9",
        "s3": "#f2a65a",
        "s4": "#ea8fb8",
        "s5": "#8b97a5",
    },
}
"""Colours by role; every pair of ink on paper has a contrast of at least 4.5."""

_SHAPES = """
text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;fill:var(--ink)}
.title{font-size:17px;font-weight:650}.soft{fill:var(--soft)}.strong{font-weight:650}
.grid{stroke:var(--grid);stroke-width:1}.axis{stroke:var(--soft);stroke-width:1}
.line{fill:none;stroke-width:1.6;stroke-linejoin:round;stroke-linecap:round}
.thick{stroke-width:3.2}.dash{stroke-dasharray:5 4}.band{stroke:none;opacity:.16}
.halo{paint-order:stroke;stroke:var(--paper);stroke-width:3.5px;stroke-linejoin:round}
"""


def stylesheet(theme: Theme = "auto") -> str:
    """CSS for the classes that charts use.

    Parameters
    ----------
    theme : {'auto', 'light', 'dark'}
        ``auto`` follows the reader's preference; on paper it is light.
    """

    def variables(name: str) -> str:
        return "".join(f"--{role}:{colour};" for role, colour in INK[name].items())

    first = "light" if theme == "auto" else theme
    rules = [f":root{{{variables(first)}}}"]
    if theme == "auto":
        rules.append(f"@media screen and (prefers-color-scheme:dark){{:root{{{variables('dark')}}}}}")
    for role in INK["light"]:
        rules.append(f".fill-{role}{{fill:var(--{role})}}.stroke-{role}{{stroke:var(--{role})}}")
    return "\n".join(rules) + _SHAPES


@dataclass(frozen=True)
class Scale:
    """Maps data to pixels, linearly or by logarithm.

    Attributes
    ----------
    low, high : float
        Data at the two ends.
    start, stop : float
        Pixels at the two ends.
    log : bool
        Logarithmic.
    """

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Pixel of a value."""
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(max(value, self.low * 1e-3))
        share = (at - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.stop - self.start)

    def ticks(self, wanted: int = 6) -> list[float]:
        """Round values inside the range, about as many as wanted."""
        if self.log and self.high / self.low > 4:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            grids = [
                [step * 10.0**decade for decade in decades for step in steps]
                for steps in ((1, 2, 5), (1, 3), (1,))
            ]
            inside = [[v for v in grid if self.low * 0.999 <= v <= self.high * 1.001] for grid in grids]
            return next((values for values in inside if len(values) <= 2 * wanted), inside[-1])
        raw = (self.high - self.low) / max(wanted, 1)
        if raw <= 0:
            return [self.low]
        unit = 10.0 ** math.floor(math.log10(raw))
        step = next(unit * k for k in (1, 2, 2.5, 5, 10) if unit * k >= raw * 0.7)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def tag(name: str, content: str = "", /, **attributes: object) -> str:
    """One element; ``class_`` and ``text_anchor`` are written class and text-anchor."""
    pairs = (
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{''.join(pairs)}>{content}</{name}>" if content else f"<{name}{''.join(pairs)}/>"


def _value(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else escape(str(value))


def text(x: float, y: float, content: str, class_: str = "", anchor: str = "start") -> str:
    """A line of text."""
    return tag("text", escape(content), x=x, y=y, class_=class_ or None, text_anchor=anchor)


def path(points: Iterable[tuple[float, float]], class_: str, *, closed: bool = False) -> str:
    """A broken line, or the area that it encloses."""
    steps = "L".join(f"{x:.2f} {y:.2f}" for x, y in points)
    return tag("path", d=f"M{steps}{'Z' if closed else ''}", class_=class_)


@dataclass
class Chart:
    """A plot area with axes, collecting elements.

    Attributes
    ----------
    width, height : int
        Size in pixels.
    x, y : Scale
        Data to pixels.
    """

    width: int
    height: int
    x: Scale
    y: Scale
    parts: list[str] = field(default_factory=list)

    def add(self, *elements: str) -> None:
        """Draw on top of what there is."""
        self.parts.extend(elements)

    def axes(self, x_label: str, y_label: str, x_texts: Sequence[str], y_texts: Sequence[str]) -> None:
        """Grid, ticks and labels; the texts belong to ``x.ticks()`` and ``y.ticks()``."""
        left, right, bottom, top = self.x.start, self.x.stop, self.y.start, self.y.stop
        for value, label in zip(self.y.ticks(), y_texts, strict=True):
            at = self.y(value)
            self.add(tag("line", x1=left, x2=right, y1=at, y2=at, class_="grid"))
            self.add(text(left - 8, at + 4, label, "soft", "end"))
        for value, label in zip(self.x.ticks(), x_texts, strict=True):
            at = self.x(value)
            self.add(tag("line", x1=at, x2=at, y1=bottom, y2=bottom + 5, class_="axis"))
            self.add(text(at, bottom + 19, label, "soft", "middle"))
        self.add(tag("line", x1=left, x2=right, y1=bottom, y2=bottom, class_="axis"))
        self.add(text((left + right) / 2, bottom + 40, x_label, "soft", "middle"))
        self.add(text(left - 40, top - 12, y_label, "soft"))

    def dot(self, x: float, y: float, class_: str, label: str, radius: float = 4.0) -> None:
        """A dot at data coordinates, with a tooltip."""
        tip = tag("title", escape(label))
        self.add(tag("circle", tip, cx=self.x(x), cy=self.y(y), r=radius, class_=class_))

    def line(self, xs: Sequence[float], ys: Sequence[float], class_: str) -> None:
        """A broken line through data coordinates."""
        points = [(self.x(x), self.y(y)) for x, y in zip(xs, ys, strict=True)]
        self.add(path(points, f"line {class_}"))

    def render(self, label: str, *, css: str | None = None) -> str:
        """The drawing as an ``<svg>`` element; with `css` it stands alone as a file."""
        style = tag("style", css) if css else ""
        paper = tag("rect", width="100%", height="100%", class_="fill-paper") if css else ""
        return tag(
            "svg",
            tag("title", escape(label)) + style + paper + "".join(self.parts),
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {self.width} {self.height}",
            role="img",
            width=self.width if css else None,
            height=self.height if css else None,
        )
