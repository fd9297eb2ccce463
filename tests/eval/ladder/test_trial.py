"""A trial's totals, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from eval.ladder.figures import by_family, separation
from eval.ladder.pictures import family_picture, frontier_picture, loss_picture
from eval.ladder.questions import Question
from eval.ladder.trial import Trial, summary

QUESTIONS = tuple(
    Question(str(i), "sums" if i < 4 else "lists", 0.5, "p" * (i + 1), "1", "s") for i in range(8)
)
CORRECT = np.array([[1, 1], [1, 0], [0, 1], [0, 0], [1, 1], [0, 1], [1, 1], [0, 1]], dtype=float)
COST = np.tile([1.0, 10.0], (8, 1))


@pytest.fixture(name="trial")
def _trial() -> Trial:
    dear = np.array([0, 0, 1, 1, 0, 1, 0, 1])
    rows = np.arange(8)
    scout = np.full(8, 0.5)
    return Trial(
        questions=QUESTIONS,
        candidates=("small", "large"),
        success=np.column_stack([1 - 0.8 * dear, np.full(8, 0.9)]),
        expected_cost_usd=COST,
        correct=CORRECT,
        cost_usd=COST,
        chosen=tuple("large" if d else "small" for d in dear),
        routed_correct=CORRECT[rows, dear],
        routed_cost_usd=COST[rows, dear] + scout,
        scout_cost_usd=scout,
        answers=("1",) * 8,
    )


def test_totals_are_those_of_the_four_ways_to_answer(trial: Trial) -> None:
    totals = summary(trial, "large")
    assert totals["accuracy"] == {"routed": 7 / 8, "cheapest": 4 / 8, "best": 6 / 8, "oracle": 7 / 8}
    assert totals["cost_usd"] == {"routed": 4 + 40 + 4, "cheapest": 8, "best": 80, "oracle": 5 + 30}
    assert totals["served_by"] == {"small": 4, "large": 4}
    assert totals["cheapest"] == "small"
    assert totals["cost_ratio"] == pytest.approx(48 / 80)
    assert totals["scout_share"] == pytest.approx(4 / 48)


def test_intervals_hold_the_figures(trial: Trial) -> None:
    totals = summary(trial, "large")
    low, high = totals["intervals"]["cost_ratio"]
    assert low <= totals["cost_ratio"] <= high
    low, high = totals["intervals"]["accuracy_gap"]
    assert low <= 1 / 8 <= high


def test_a_probe_that_knows_separates_within_families(trial: Trial) -> None:
    assert separation(trial)["small"]["probe"] > separation(trial)["small"]["length"]


def test_families_are_reported_apart(trial: Trial) -> None:
    assert by_family(trial) == {
        "lists": {"small": 0.5, "large": 1.0},
        "sums": {"small": 0.5, "large": 0.5},
    }


def test_the_picture_names_the_saving_and_every_candidate(trial: Trial) -> None:
    drawing = frontier_picture(trial, "large")
    assert drawing.startswith("<svg")
    assert "40% cheaper than large" in drawing
    for name in ("small", "large", "oracle", "Foresight"):
        assert name in drawing


def test_the_table_of_families_shows_every_cell(trial: Trial) -> None:
    drawing = family_picture(by_family(trial), trial.candidates)
    assert drawing.count("fill-opacity") == 4
    assert drawing.count(">50%<") == 3


def test_the_loss_of_every_rung_is_drawn() -> None:
    curve = [[0, 6.0], [100, 3.0], [200, 2.0], [300, 1.0]]
    drawing = loss_picture([{"name": name, "loss": curve} for name in ("ladder-s", "ladder-m", "ladder-l")])
    assert all(name in drawing for name in ("ladder-s", "ladder-m", "ladder-l"))
