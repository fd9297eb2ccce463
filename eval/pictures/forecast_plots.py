"""Forecasts as pictures: over training, a rank scatter, an extrapolated curve, and over prompt length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from eval.pictures import svg
from probes.errors import UsageError
from probes.forecast.trend.curve import Curve
from probes.forecast.trend.lengths import LengthTrend

Numbers = Sequence[float] | npt.NDArray[np.float64]
_COLOURS = ("main", "s1", "s2", "s3", "s4", "s5")


def training_picture(runs: Mapping[str, tuple[Numbers, Numbers, Numbers, Numbers]]) -> str:
    """Forecast (line, with its interval) against true accuracy (dots) over training.

    Parameters
    ----------
    runs
        By name: tokens or steps, true accuracy, forecast, half width of its interval.
    """
    every = [np.asarray(run[0], float) for run in runs.values()]
    chart = _chart(np.concatenate(every) if every else np.empty(0), 0.0, 1.0, "training so far", log=True)
    for colour, (name, (t, truth, forecast, reach)) in zip(_cycle(len(runs)), runs.items(), strict=True):
        low, high = np.asarray(forecast) - np.asarray(reach), np.asarray(forecast) + np.asarray(reach)
        _band(chart, t, np.clip(low, 0, 1), np.clip(high, 0, 1), colour)
        chart.line(list(t), list(forecast), f"stroke-{colour}")
        for x, y in zip(t, truth, strict=True):
            chart.dot(float(x), float(y), f"fill-{colour}", f"{name}: {y:.3f}")
    return _finished(chart, "Forecast (line) and true accuracy (dots) over training", list(runs))


def rank_picture(score: Numbers, accuracy: Numbers, names: Sequence[str]) -> str:
    """Models by their forecast score and true accuracy."""
    chart = _chart(np.asarray(score, float), 0.0, 1.0, "score from experts' solutions")
    for x, y, name in zip(score, accuracy, names, strict=True):
        chart.dot(float(x), float(y), "fill-main", f"{name}: {y:.3f}")
    return _finished(chart, "Score without generating, and true accuracy", [])


def curve_picture(
    curve: Curve, t: Numbers, values: Numbers, at: float, later: tuple[Numbers, Numbers] = ((), ())
) -> str:
    """A fitted curve with its band, carried on from the points so far to `at`; and what came `later`."""
    times, y = np.asarray(t, float), np.asarray(values, float)
    after, came = (np.asarray(one, float) for one in later)
    path = np.geomspace(times.min(), max(at, times.max()), 120)
    low, high = curve.interval(path)
    room = np.concatenate([low, high, y, came])
    chart = _chart(path, float(room.min()), float(room.max()), "t", log=True)
    _band(chart, path, low, high, "main")
    chart.line(path.tolist(), curve(path).tolist(), "stroke-main thick")
    for x, value in zip(times, y, strict=True):
        chart.dot(float(x), float(value), "fill-ink", f"{value:.4g} at {x:g}")
    for x, value in zip(after, came, strict=True):
        chart.dot(float(x), float(value), "fill-s1", f"{value:.4g} at {x:g}, not known to the forecast")
    title = f"{float(curve(at)):.4g} foreseen at {at:g}"
    if len(came):
        title += f" (line) from the dark points; {came[int(after.argmax())]:.4g} came"
    return _finished(chart, title, [])


def context_picture(trends: Mapping[str, tuple[LengthTrend, Numbers, Numbers]]) -> str:
    """Accuracy by prompt length (dots) with the fitted trend (line), for each candidate."""
    every = [np.asarray(tokens, float) for _, tokens, _ in trends.values()]
    chart = _chart(np.concatenate(every) if every else np.empty(0), 0.0, 1.0, "prompt tokens")
    for colour, (name, (trend, tokens, accuracy)) in zip(_cycle(len(trends)), trends.items(), strict=True):
        path = np.linspace(float(np.min(tokens)), float(np.max(tokens)), 200)
        chart.line(path.tolist(), trend.predict(path).tolist(), f"stroke-{colour}")
        for x, y in zip(tokens, accuracy, strict=True):
            chart.dot(float(x), float(y), f"fill-{colour}", f"{name}: {y:.3f} at {x:g} tokens")
    return _finished(chart, "Accuracy by prompt length", list(trends))


def _cycle(n: int) -> list[str]:
    return [_COLOURS[i % len(_COLOURS)] for i in range(n)]


def _chart(
    x: npt.NDArray[np.float64], low: float, high: float, label: str, *, log: bool = False
) -> svg.Chart:
    if not len(x):
        raise UsageError("There is nothing to draw.")
    left, right = float(x.min()), float(x.max())
    spare = 0.0 if log else 0.05 * ((right - left) or 1.0)
    bottom, top = (low, high) if high > low else (low - 0.5, high + 0.5)
    scales = svg.Scale(left - spare, right + spare, 62, 640, log), svg.Scale(bottom, top, 362, 66)
    chart = svg.Chart(860, 420, *scales)
    chart.axes(label, "accuracy", *([f"{value:.4g}" for value in scale.ticks()] for scale in scales))
    return chart


def _band(chart: svg.Chart, x: Numbers, low: Numbers, high: Numbers, colour: str) -> None:
    upper = [(chart.x(float(a)), chart.y(float(b))) for a, b in zip(x, high, strict=True)]
    lower = [(chart.x(float(a)), chart.y(float(b))) for a, b in zip(x, low, strict=True)]
    chart.add(svg.path([*upper, *reversed(lower)], f"band fill-{colour}", closed=True))


def _finished(chart: svg.Chart, title: str, names: Sequence[str]) -> str:
    for row, (colour, name) in enumerate(zip(_cycle(len(names)), names, strict=True)):
        y = chart.y.stop + 8 + 22 * row
        chart.add(svg.path([(660, y), (686, y)], f"line stroke-{colour}"), svg.text(694, y + 4, name))
    chart.add(svg.text(24, 30, title, "title"))
    return chart.render(title, css=svg.stylesheet())
