"""The ladder drawn: the frontier of a trial, accuracy by family, and how the models learnt."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.ladder import FOLDER
from eval.ladder.figures import by_family, router_curve
from eval.ladder.sizes import SIZES
from eval.ladder.trial import Trial
from eval.pictures import svg
from eval.pictures.plots import Line, Mark, frontier, write_frontier
from router.policies import CheapestLikely, Utility

_CELL, _ROW, _LEFT, _TOP = 104, 26, 130, 66
"""Pixels of the table of families."""


def write_pictures(trial: Trial, best: str, folder: Path) -> None:
    """Write ``frontier.svg``, ``families.svg`` and ``loss.svg``."""
    write_frontier(folder / "frontier.svg", frontier_picture(trial, best))
    write_frontier(folder / "families.svg", family_picture(by_family(trial), trial.candidates))
    records = [json.loads((FOLDER / "models" / name / "training.json").read_text()) for name in SIZES]
    write_frontier(folder / "loss.svg", loss_picture(records))


def frontier_picture(trial: Trial, best: str) -> str:
    """Cost against accuracy as an SVG: two policies at every setting, singles, oracle, chosen point."""
    correct, cost = trial.columns(best)
    singles = zip(trial.candidates, trial.cost_usd.mean(axis=0), trial.correct.mean(axis=0), strict=True)
    marks = [Mark(name, float(c), float(a)) for name, c, a in singles]
    marks.append(Mark("oracle", float(cost[:, 3].mean()), float(correct[:, 3].mean()), "oracle"))
    marks.append(Mark("Foresight", float(cost[:, 0].mean()), float(correct[:, 0].mean()), "chosen"))
    saved = 1 - cost[:, 0].sum() / cost[:, 2].sum()
    gained = correct[:, 0].mean() - correct[:, 2].mean()
    return frontier(
        [
            Line("by value", router_curve(trial, Utility(1.0)), main=True),
            Line("by threshold", router_curve(trial, CheapestLikely())),
        ],
        marks,
        title=f"{saved:.0%} cheaper than {best}, at {gained:+.1%} accuracy",
        subtitle=f"{len(trial.questions):,} held-out questions, answered by vLLM; the scout is charged",
    )


def family_picture(families: Mapping[str, Mapping[str, float]], candidates: Sequence[str]) -> str:
    """Accuracy of every candidate in every family as a table whose cells fill with accuracy."""
    parts = [svg.text(24, 30, "Accuracy by family", "title")]
    for column, name in enumerate(candidates):
        parts.append(svg.text(_LEFT + (column + 0.5) * _CELL, _TOP - 10, name, "soft", "middle"))
    for row, (family, accuracy) in enumerate(sorted(families.items())):
        y = _TOP + row * _ROW
        parts.append(svg.text(_LEFT - 12, y + 17, family, "", "end"))
        for column, name in enumerate(candidates):
            x, share = _LEFT + column * _CELL, accuracy[name]
            box = {"x": x + 1, "y": y + 1, "width": _CELL - 2, "height": _ROW - 2}
            parts.append(svg.tag("rect", **box, class_="fill-main", fill_opacity=0.05 + 0.5 * share))
            parts.append(svg.text(x + _CELL / 2, y + 17, f"{share:.0%}", "", "middle"))
    size = _LEFT + _CELL * len(candidates) + 20, _TOP + _ROW * len(families) + 16
    scale = svg.Scale(0, 1, 0, 1)
    chart = svg.Chart(*size, scale, scale, parts)
    return chart.render("Accuracy by family", css=svg.stylesheet())


def loss_picture(records: Sequence[Mapping[str, Any]]) -> str:
    """Training loss over tokens, one line a rung."""
    points = {record["name"]: record["loss"][1:] for record in records}
    last = max(tokens for curve in points.values() for tokens, _ in curve)
    high = max(loss for curve in points.values() for _, loss in curve[2:])
    chart = svg.Chart(860, 420, svg.Scale(0, last / 1e6, 62, 690), svg.Scale(0, high, 362, 66))
    ticks = chart.x.ticks(), chart.y.ticks()
    chart.axes("million tokens", "loss on answers, nats a token", *([f"{v:g}" for v in t] for t in ticks))
    free_below = 0.0
    for colour, (name, curve) in zip(("s1", "s2", "main"), points.items(), strict=True):
        tokens, loss = zip(*curve, strict=True)
        chart.line([t / 1e6 for t in tokens], [min(high, value) for value in loss], f"stroke-{colour}")
        at = max(chart.y(loss[-1]) + 4, free_below)
        free_below = at + 16
        chart.add(svg.text(chart.x(last / 1e6) + 8, at, name))
    chart.add(svg.text(24, 30, "How the ladder learnt", "title"))
    return chart.render("Training loss of the ladder", css=svg.stylesheet())
