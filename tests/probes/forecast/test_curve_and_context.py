"""Curves over training and over prompt length: known truths are found again, thin data is told as such."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.errors import ArtefactError, DataError, UsageError
from probes.forecast.trend.context import BOUNDS, ContextData, fit_law, law
from probes.forecast.trend.curve import fit_curve
from probes.forecast.trend.lengths import LengthTrend, fit_trend


@settings(max_examples=15, deadline=None)
@given(st.floats(0.2, 0.9), st.floats(0.01, 0.5), st.floats(0.2, 1.5))
def test_a_noiseless_curve_is_carried_on_exactly(limit: float, drop: float, rate: float) -> None:
    t = np.geomspace(1, 100, 12)
    fitted = fit_curve(t, limit - drop * t**-rate)
    assert float(fitted(1800.0)) == pytest.approx(limit - drop * 1800.0**-rate, abs=0.02 * drop + 1e-3)


def test_the_interval_covers_what_comes() -> None:
    rng = np.random.default_rng(0)
    t, inside = np.geomspace(1, 50, 10), 0
    for seed in range(30):
        values = 0.8 - 0.6 * t**-0.5 + rng.normal(0, 0.01, len(t))
        low, high = fit_curve(t, values, seed=seed).interval(200.0)
        inside += bool(low <= 0.8 - 0.6 * 200**-0.5 <= high)
    assert inside >= 25


def test_a_falling_and_a_flat_series_have_curves_too() -> None:
    t = np.array([1.0, 2.0, 4.0, 8.0])
    assert float(fit_curve(t, 3 - t**0.2)(16.0)) < 3 - 8**0.2
    assert float(fit_curve(t, np.full(4, 0.25))(100.0)) == pytest.approx(0.25)


def test_an_accuracys_limit_stays_in_bounds() -> None:
    t = np.array([1.0, 2.0, 3.0, 4.0])
    fitted = fit_curve(t, 0.2 * t, bounds=(0.0, 1.0))
    assert fitted.limit <= 1.0
    assert float(fitted(1e9)) <= 1.0 + 1e-9


@pytest.mark.parametrize(
    ("t", "values", "error"),
    [
        pytest.param([1.0], [0.5], UsageError, id="one checkpoint"),
        pytest.param([1.0, 1.0, 1.0, 2.0], [0.1, 0.2, 0.3, 0.4], UsageError, id="two times"),
        pytest.param([0.0, 1.0, 2.0], [0.1, 0.2, 0.3], DataError, id="time zero"),
        pytest.param([1.0, 2.0, 3.0], [0.1, np.nan, 0.3], DataError, id="nan"),
        pytest.param([1.0, 2.0, 3.0], [0.1, 0.2], DataError, id="lengths differ"),
    ],
)
def test_points_that_cannot_make_a_curve_are_refused(
    t: list[float], values: list[float], error: type[Exception]
) -> None:
    with pytest.raises(error):
        fit_curve(t, values)


def test_the_laws_four_parameters_are_found_again() -> None:
    truth = (0.3, 0.4, 0.7, 0.9)
    tokens, compute = np.meshgrid(np.geomspace(50, 9000, 12), np.geomspace(1e21, 1e25, 5))
    data = ContextData.build(
        tokens.ravel(), law(truth, tokens, 8192, compute).ravel(), limit=8192, compute=compute.ravel()
    )
    found = fit_law(data, n_bootstrap=2)
    np.testing.assert_allclose(found.parameters, truth, rtol=1e-3)
    assert found.parameter_intervals().shape == (4, 2)


@settings(max_examples=30, deadline=None)
@given(st.tuples(*(st.floats(low, high) for low, high in BOUNDS)), st.floats(2000, 5000))
def test_the_law_is_a_probability_that_rises_up_to_the_limit_and_is_nothing_beyond(
    parameters: tuple[float, ...], limit: float
) -> None:
    tokens = np.linspace(1, 3 * limit, 200)
    value = law(parameters, tokens, limit)
    assert ((value >= 0) & (value <= 1)).all()
    inside = value[tokens < 0.7 * limit]
    assert (np.diff(inside) >= -1e-6).all()
    assert value[tokens > 1.5 * limit].max(initial=0.0) < 1e-6
    more = law(parameters, tokens, limit, compute=1e24)
    assert (more >= value - 1e-12).all()


def test_one_length_gives_a_number_and_a_law_asks_for_three() -> None:
    flat = fit_trend([100.0] * 6, [1, 0, 1, 1, 0, 1])
    assert (flat.kind, flat.parameters) == ("flat", (pytest.approx(4 / 6),))
    with pytest.raises(UsageError, match="cannot show"):
        fit_law(ContextData.build([100.0, 200.0], [0.2, 0.4]))


def test_a_trend_that_the_law_cannot_follow_falls_back_to_a_monotone_curve() -> None:
    tokens = np.repeat(np.linspace(100, 1200, 12), 200)
    chance = np.where(tokens < 600, 0.9, 0.2)  # long prompts harm: the law can only rise before its limit
    rng = np.random.default_rng(0)
    trend = fit_trend(tokens, (rng.random(len(tokens)) < chance).astype(float))
    assert trend.kind == "isotonic"
    assert float(trend.predict(200.0)) > 0.8 > 0.3 > float(trend.predict(1100.0))


def test_a_trend_survives_its_json_and_shifts_only_beyond_what_was_seen() -> None:
    tokens = np.repeat(np.linspace(10, 200, 12), 300)
    chance = law((2.0, 1.0, 2.5, 1.2), tokens)
    rng = np.random.default_rng(1)
    trend = fit_trend(tokens, (rng.random(len(tokens)) < chance).astype(float), limit=512, seen=(10, 120))
    again = LengthTrend.from_dict(json.loads(json.dumps(trend.to_dict())))
    n = np.array([20.0, 100.0, 180.0, 1000.0])
    np.testing.assert_array_equal(again.shift(n), trend.shift(n))
    assert again.shift(n)[0] == again.shift(n)[1] == 0
    if trend.kind == "law":
        assert again.shift(n)[2] > 0 > again.shift(n)[3]
    with pytest.raises(ArtefactError):
        LengthTrend.from_dict({**trend.to_dict(), "kind": "magic"})


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"accuracy": [0.5, 1.5, 0.2]}, id="accuracy"),
        pytest.param({"tokens": [0.0, 1.0, 2.0]}, id="no length"),
        pytest.param({"limit": -1.0}, id="limit"),
    ],
)
def test_data_out_of_range_is_refused(change: dict[str, object]) -> None:
    given_data: dict[str, object] = {"tokens": [1.0, 2.0, 3.0], "accuracy": [0.1, 0.2, 0.3]} | change
    with pytest.raises(DataError):
        ContextData.build(**given_data)  # type: ignore[arg-type]
