"""The frontier picture and the HTML report: self-contained, complete, readable in light and dark."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.harness import EvaluationResult, evaluate
from eval.metrics.curves import Curve
from eval.pictures import svg
from eval.pictures.plots import Line, Mark, frontier, write_frontier
from eval.report import render, write_report
from eval.report.page import frontier_drawing, headline
from probes.errors import UsageError
from tests.eval.sets import synthetic

MARKS = [Mark("small", 0.001, 0.5), Mark("a <b> & c", 0.02, 0.8), Mark("oracle", 0.002, 0.95, "oracle")]
LINE = Line("ours", Curve.of([(0.001, 0.5), (0.01, 0.8)]), True, (np.array([0.4, 0.7]), np.array([0.6, 0.9])))


@pytest.fixture(scope="module")
def result() -> EvaluationResult:
    world = synthetic(400)
    return evaluate(
        world.outcomes,
        scout=world.activations,
        scout_name="truth",
        scout_usd_per_mtok=1.0,
        routers=["foresight", "length", "hull"],
        seeds=2,
        draws=50,
    )


@pytest.mark.parametrize("theme", ["auto", "light", "dark"])
def test_the_frontier_is_well_formed_and_needs_nothing(theme: svg.Theme, tmp_path: Path) -> None:
    drawing = frontier([LINE], MARKS, title="Title", subtitle="Sub", theme=theme)
    write_frontier(tmp_path / "f.svg", drawing)
    root = ET.fromstring((tmp_path / "f.svg").read_text())
    words = {"".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"Title", "small", "a <b> & c", "oracle", "ours", "singles' hull"} <= words
    assert re.findall(r"(?:href|src|url)\s*[=(]", drawing) == []
    assert ("prefers-color-scheme" in drawing) == (theme == "auto")


def test_every_class_has_a_colour_in_light_and_dark() -> None:
    drawing, css = frontier([LINE, Line("other", LINE.curve)], MARKS), svg.stylesheet()
    used = {name for group in re.findall(r'class="([^"]+)"', drawing) for name in group.split()}
    assert all(re.search(rf"\.{name}\b", css) for name in used)
    assert svg.INK["light"].keys() == svg.INK["dark"].keys()


@pytest.mark.parametrize("name", ["light", "dark"])
def test_text_and_lines_stand_out_from_the_paper(name: str) -> None:
    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    paper = luminance(svg.INK[name]["paper"])
    for role in svg.INK[name].keys() - {"paper", "grid"}:
        light, dark = sorted([paper, luminance(svg.INK[name][role])], reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.4, role


def test_an_empty_picture_is_refused_and_odd_ones_are_drawn() -> None:
    with pytest.raises(UsageError, match="nothing to draw"):
        frontier([], [])
    for marks in ([MARKS[0]], [Mark("free", 0.0, 0.5), Mark("free too", 0.0, 0.6)], [Mark("sure", 1.0, 1.0)]):
        ET.fromstring(frontier([], marks))
    many = [Mark(f"m{i}", 0.001 * (i + 1), 0.3 + 0.01 * i) for i in range(30)]
    ET.fromstring(frontier([LINE], many))


@given(low=st.floats(1e-9, 1e3), factor=st.floats(1.5, 1e6), log=st.booleans())
def test_ticks_are_few_inside_and_rising(low: float, factor: float, log: bool) -> None:
    scale = svg.Scale(low, low * factor, 0, 100, log)
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 16
    assert all(-0.5 <= scale(tick) <= 100.5 for tick in ticks)
    assert sorted(set(ticks)) == ticks


def test_the_report_stands_alone(result: EvaluationResult, tmp_path: Path) -> None:
    write_report(result, tmp_path / "report.html", command="foresight evaluate set --report report.html")
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page
    assert re.findall(r'(?:src|href)="', page) == []
    assert set(re.findall(r"https?://[^\s\"<]+", page)) <= {"http://www.w3.org/2000/svg"}
    for heading in (
        "Cost against accuracy",
        "All routers",
        "probabilities",
        "agree",
        "money",
        "By dataset",
        "reproduce",
    ):
        assert heading in page
    assert "foresight evaluate set --report report.html" in page
    assert page.count("<svg") >= 6
    assert "@media print" in page
    assert "prefers-color-scheme" in page


def test_the_headline_names_the_saving_with_its_interval(result: EvaluationResult) -> None:
    sentence = headline(result)
    low, high = result.routers["foresight"].saving_ci
    assert f"95% interval {low:.0%} to {high:.0%}" in sentence
    assert "large" in sentence


def test_prompts_cannot_inject_markup(result: EvaluationResult) -> None:
    from dataclasses import replace

    page = render(replace(result, outcomes="<img src=x>", notes=("<b>bold</b>",)))
    assert "<img" not in page
    assert "&lt;b&gt;bold" in page


def test_a_report_without_costs_or_router_is_still_a_report() -> None:
    world = synthetic(300, costs=None)
    page = render(evaluate(world.outcomes, scout=world.activations, routers=["foresight"], seeds=1, draws=20))
    assert "Without costs" in page
    assert "money" not in page
    coin = synthetic(300)
    page = render(evaluate(coin.outcomes, routers=["hull"], seeds=1, draws=20))
    assert "No router is shown to save money" in page


def test_the_picture_for_a_readme_shows_every_router(result: EvaluationResult) -> None:
    drawing = frontier_drawing(result, title="T", subtitle="S")
    assert all(name in drawing for name in ("foresight", "length", "small", "large", "oracle"))


def test_the_report_says_whether_the_scout_is_charged(result: EvaluationResult) -> None:
    assert "the scout's cost is charged" in render(result)
    world = synthetic(400)
    free = evaluate(world.outcomes, scout=world.activations, routers=["foresight"], seeds=1, draws=20)
    assert "the scout was read for free" in render(free)
