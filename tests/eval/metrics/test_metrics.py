"""Routing metrics: hand-worked cases, published numbers, and properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.metrics.areas import aiq, mdp_auccc, p_auccc
from eval.metrics.curves import Curve, Singles, oracle_choices, sweep
from eval.metrics.frontier import accuracy_at_cost, cost_at_accuracy, hull, pareto
from eval.metrics.savings import (
    cost_at_parity,
    headroom_captured,
    normalised_costs,
    saving_at_accuracy,
)
from eval.metrics.strength import apgr, cpt
from probes.errors import UsageError

# Facts published with arXiv 2602.09924 (its notebooks utility_router and cascade, MATH test):
# (accuracy, total US dollars) of the utility sweep, of the cascade 7B -> medium, and of single models.
UTILITY = [(0.9244, 25.445949), (0.9214, 19.810898), (0.9178, 16.163559), (0.9134, 14.096685)]
ALWAYS_HIGH = (0.920, 40.0)
CASCADE = [(0.895, 8.849808), (0.906, 9.659642), (0.9142, 10.625775)]
ALWAYS_MEDIUM = (0.9136, 11.781152)
TIER_COSTS = [0.000672, 0.000887, 0.002951, 0.004033, 0.009807]

TWO = Singles(np.array([1.0, 3.0]), np.array([0.6, 0.9]))
THREE = Singles(np.array([1.0, 2.0, 5.0]), np.array([0.5, 0.8, 0.9]))


def points(*pairs: tuple[float, float]) -> Curve:
    return Curve.of(pairs)


def test_a_straight_line_between_two_models_has_p_auccc_of_15_hundredths() -> None:
    assert p_auccc(points((1, 0.6), (3, 0.9)), TWO) == pytest.approx(0.15, abs=1e-15)
    assert mdp_auccc(points((1, 0.6), (3, 0.9)), TWO) == pytest.approx(0, abs=1e-15)


def test_p_auccc_pads_with_the_cheapest_left_and_a_plateau_right() -> None:
    # From (1, .6) up to (2, .8), then flat: .5·1·.2 + 1·.2 = .3 over a range of 2.
    assert p_auccc(points((2, 0.8)), TWO) == pytest.approx(0.15, abs=1e-15)
    # Cut at the border: the segment (0, .5)-(2, .7) enters at (1, .6): .5·.1 + 1·.1 over 2.
    assert p_auccc(points((0, 0.5), (2, 0.7)), TWO) == pytest.approx(0.075, abs=1e-15)


def test_mdp_auccc_is_the_area_above_the_models_own_frontier() -> None:
    # The frontier's area is .15; straight to (1.5, .9) and flat has .5·.5·.3 + 1.5·.3 = .525 over 2.
    assert mdp_auccc(points((1.5, 0.9)), TWO) == pytest.approx(0.525 / 2 - 0.15, abs=1e-15)


def test_aiq_is_the_mean_height_of_the_hull() -> None:
    # Hull (1, .6), (2, .8), flat to 3: trapezoid .7 over [1, 2], .8 over [2, 3].
    assert aiq(points((2, 0.8), (2.5, 0.7)), TWO) == pytest.approx(0.75, abs=1e-15)


def test_apgr_and_cpt_agree_with_routellm_by_hand() -> None:
    # Share of strong calls 0, .5, 1 at accuracies .6, .8, .9.
    curve = points((1, 0.6), (2, 0.8), (3, 0.9))
    assert apgr(curve, TWO) == pytest.approx(((0.7 + 0.85) / 2 - 0.6) / 0.3, abs=1e-15)
    assert cpt(curve, TWO, 0.5) == pytest.approx(0.375, abs=1e-15)  # .75 lies 3/4 of the way to (.5, .8)
    assert cpt(curve, TWO, 0.8) == pytest.approx(0.5 + 0.5 * (0.04 / 0.1), abs=1e-12)
    assert cpt(curve, TWO, 0.0) == 0
    assert np.isnan(cpt(points((1, 0.6), (2, 0.7)), TWO, 0.8))


def test_a_random_mixture_has_apgr_of_one_half() -> None:
    assert apgr(points((1, 0.6), (3, 0.9)), TWO) == pytest.approx(0.5, abs=1e-15)
    assert cpt(points((1, 0.6), (3, 0.9)), TWO, 0.5) == pytest.approx(0.5, abs=1e-15)


def test_savings_of_the_published_sweeps() -> None:
    utility = Curve.of([(cost, accuracy) for accuracy, cost in UTILITY])
    assert saving_at_accuracy(utility, 0.920, ALWAYS_HIGH[1]) == pytest.approx(0.505, abs=5e-4)
    cascade = Curve.of([(cost, accuracy) for accuracy, cost in CASCADE])
    assert saving_at_accuracy(cascade, *ALWAYS_MEDIUM) == pytest.approx(0.098, abs=5e-4)
    expected = [0, 0.0235, 0.2494, 0.368, 1]
    np.testing.assert_allclose(normalised_costs(np.array(TIER_COSTS)), expected, atol=1e-4)


def test_cost_at_parity_is_relative_to_the_best_single_and_nan_when_out_of_reach() -> None:
    assert cost_at_parity(points((1, 0.6), (2, 0.9), (2.5, 0.95)), TWO) == pytest.approx(2 / 3)
    assert np.isnan(cost_at_parity(points((1, 0.6), (2, 0.89)), TWO))
    assert cost_at_parity(points((1, 0.6), (2, 0.89)), TWO, tolerance=0.01) == pytest.approx(2 / 3)


def test_headroom_captured_by_hand() -> None:
    assert headroom_captured(0.85, 0.8, 0.9) == pytest.approx(0.5)
    assert headroom_captured(0.7, 0.8, 0.9) == pytest.approx(-1)
    assert np.isnan(headroom_captured(0.9, 0.9, 0.9))


def test_hull_and_pareto_by_hand() -> None:
    cost, accuracy = np.array([1.0, 2.0, 3.0, 4.0, 2.5]), np.array([0.5, 0.6, 0.9, 0.85, 0.9])
    front = pareto(cost, accuracy)
    assert front.knob.tolist() == [0, 1, 4]
    corners = hull(cost, accuracy)
    assert corners.knob.tolist() == [0, 4]
    assert accuracy_at_cost(corners, 1.75) == pytest.approx(0.7)
    assert accuracy_at_cost(corners, 9) == pytest.approx(0.9)
    assert cost_at_accuracy(corners, 0.7) == pytest.approx(1.75)
    assert cost_at_accuracy(corners, 0.4) == 1
    assert np.isnan(cost_at_accuracy(corners, 0.91))


def test_singles_name_the_cheapest_and_the_best() -> None:
    singles = Singles(np.array([2.0, 1.0, 1.0, 3.0]), np.array([0.9, 0.5, 0.6, 0.9]))
    assert singles.cheapest == 2
    assert singles.best == 0


def test_equal_prices_have_no_area() -> None:
    flat = Singles(np.array([1.0, 1.0]), np.array([0.6, 0.9]))
    for metric in (p_auccc, mdp_auccc, aiq, apgr):
        assert np.isnan(metric(points((1, 0.9)), flat))
    assert np.isnan(cpt(points((1, 0.9)), flat, 0.5))


def test_a_sweep_averages_what_was_chosen() -> None:
    correct, cost = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 5.0], [1.0, 7.0]])
    choices = np.array([[0, 0], [0, 1], [1, 1]])
    curve = sweep(choices, correct, cost, np.array([0.0, 1.0, 2.0]))
    np.testing.assert_allclose(curve.accuracy, [0.5, 1, 0.5])
    np.testing.assert_allclose(curve.cost, [1, 4, 6])


def test_the_oracle_takes_the_cheapest_right_answer_and_else_the_cheapest() -> None:
    correct = np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0], [np.nan, 1.0]])
    cost = np.array([[2.0, 1.0], [1.0, 9.0], [2.0, 1.0], [np.nan, 9.0]])
    assert oracle_choices(correct, cost).tolist() == [1, 1, 1, 1]


def test_malformed_curves_are_refused() -> None:
    with pytest.raises(UsageError, match="equal rows"):
        Curve(np.ones(2), np.ones(3), np.ones(2))
    with pytest.raises(UsageError, match="finite"):
        Curve.of([(1, float("nan"))])


CLOUDS = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 20)), min_size=2, max_size=12)


@settings(max_examples=200, deadline=None)
@given(
    cloud=CLOUDS, steps=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), min_size=1, max_size=12)
)
def test_properties_of_areas_and_hulls(cloud: list[tuple[int, int]], steps: list[tuple[int, int]]) -> None:
    cost, accuracy = (np.array(column, dtype=float) for column in zip(*cloud, strict=True))
    singles, curve = Singles(cost, accuracy / 20), Curve.of([(c, a / 20) for c, a in steps])
    corners = hull(singles.cost, singles.accuracy)
    # Nothing lies above the hull; its corners rise in cost and accuracy with falling slopes.
    assert (singles.accuracy <= accuracy_at_cost(corners, singles.cost) + 1e-12).all()
    assert (np.diff(corners.cost) > 0).all()
    slopes = np.diff(corners.accuracy) / np.diff(corners.cost)
    assert (slopes > 0).all()
    assert (np.diff(slopes) < 0).all()
    if np.ptp(cost) == 0:
        return
    # The unit of money does not matter, nor the order of the points.
    scaled = Singles(7 * singles.cost, singles.accuracy)
    again = Curve(7 * curve.cost[::-1], curve.accuracy[::-1], curve.knob)
    for metric in (p_auccc, aiq, apgr):
        np.testing.assert_allclose(metric(again, scaled), metric(curve, singles), atol=1e-9)
    # The hull bounds the frontier; both are within the heights that accuracies allow.
    assert p_auccc(corners, singles) >= p_auccc(pareto(singles.cost, singles.accuracy), singles) - 1e-12
    assert aiq(curve, singles) <= max(1.0, singles.accuracy.max()) + 1e-12


def test_areas_agree_with_a_fine_numerical_integral() -> None:
    rng = np.random.default_rng(0)
    curve = Curve.of(list(zip(np.sort(rng.uniform(0.5, 6, 20)), rng.uniform(0.4, 0.9, 20), strict=True)))
    grid = np.linspace(1, 5, 400_001)
    cost, accuracy = curve.by_cost()
    cost, accuracy = (np.r_[1, cost], np.r_[0.5, accuracy]) if cost[0] > 1 else (cost, accuracy)
    expected = np.trapezoid(np.interp(grid, cost, accuracy) - 0.5, grid) / 4
    assert p_auccc(curve, THREE) == pytest.approx(expected, abs=1e-6)
