"""Set accuracy from a few grades, and an order of models from proxies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.errors import DataError, UsageError
from probes.forecast.checkpoint.powered import canary, canary_of_tasks, set_accuracy, unaided_accuracy
from probes.forecast.rank.level import forecast_level
from probes.forecast.rank.proxies import (
    PROXIES,
    STATISTICS,
    Trajectory,
    from_prompt_logprobs,
    proxies,
    smoothed,
    word_frequencies,
)
from probes.forecast.rank.ranking import (
    fit_ranker,
    leave_tasks_out,
    mean_spearman,
    pairs_right,
    standardised,
)


def world(seed: int, n: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    """Biased forecasts that rank, and what happened."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(0, 1.5, n)
    correct = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(float)
    return 1 / (1 + np.exp(-(logit + 1.0))), correct


def test_a_canary_takes_the_bias_away_and_its_interval_covers() -> None:
    inside, errors, plain = 0, [], []
    for seed in range(60):
        forecast, correct = world(seed)
        rows = np.random.default_rng(seed).choice(len(correct), 100, replace=False)
        found = set_accuracy(forecast, rows, correct[rows])
        inside += found.low <= correct.mean() <= found.high
        errors.append(found.value - correct.mean())
        plain.append(correct[rows].mean() - correct.mean())
    assert inside >= 53
    assert abs(np.mean(errors)) < 0.012
    assert np.std(errors) < 0.95 * np.std(plain), "forecasts are worth more than the grades alone"


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 40), st.integers(0, 1), st.randoms(use_true_random=False))
def test_all_right_or_all_wrong_keeps_a_wide_interval(n: int, value: int, random: object) -> None:
    forecast = np.linspace(0.1, 0.9, 200)
    found = set_accuracy(forecast, np.arange(n), np.full(n, float(value)))
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low >= min(1.0, 3 / n) - 1e-9, "the rule of three, cut at one end only"


def test_a_canary_of_tasks_holds_each_in_its_share_and_any_question_as_likely() -> None:
    tasks = ["a"] * 60 + ["b"] * 30 + ["c"] * 10
    many = [canary_of_tasks(tasks, 20, seed=seed) for seed in range(2000)]
    for rows in many[:50]:
        held = [tasks[i] for i in rows]
        assert len(set(rows.tolist())) == 20
        assert [held.count(name) for name in "abc"] == [12, 6, 2]
    counts = np.bincount(np.concatenate(many), minlength=100)
    assert np.abs(counts / 2000 - 0.2).max() < 0.05


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 60), st.integers(0, 200), st.integers(0, 99))
def test_a_canary_is_distinct_spread_along_the_forecasts_and_can_be_the_whole_set(
    n: int, more: int, seed: int
) -> None:
    forecast = np.random.default_rng(seed).random(n + more).round(1)
    rows = canary(forecast, n, seed=seed)
    assert len(set(rows.tolist())) == n
    assert rows.min() >= 0
    assert rows.max() < n + more
    larger = (n + more) % n
    uneven = larger * (n - larger) / (n * (n + more))
    gap = abs(forecast[rows].mean() - forecast.mean())
    assert gap <= 1 / n + uneven + 1e-9, "the strata's widths, and that some hold one question more"


def test_every_question_is_as_likely_to_be_graded_and_the_error_is_less_than_at_random() -> None:
    forecast, correct = world(3, 230)
    drawn = np.bincount(
        np.concatenate([canary(forecast, 50, seed=seed) for seed in range(2000)]), minlength=230
    )
    np.testing.assert_allclose(drawn / 2000, 50 / 230, atol=0.05)
    rng = np.random.default_rng(0)
    systematic, random = (
        [set_accuracy(forecast, rows, correct[rows]).value - correct.mean() for rows in drawn_rows]
        for drawn_rows in (
            [canary(forecast, 50, seed=seed) for seed in range(400)],
            [rng.choice(230, 50, replace=False) for _ in range(400)],
        )
    )
    assert np.std(systematic) < np.std(random)
    assert abs(np.mean(systematic)) < 0.01
    with pytest.raises(UsageError, match="cannot be drawn"):
        canary([0.1, 0.2, 0.3], 4)


def test_a_set_that_is_wholly_graded_is_known() -> None:
    forecast, correct = world(0, 50)
    found = set_accuracy(forecast, np.arange(50), correct)
    assert found.value == pytest.approx(correct.mean())
    assert found.high - found.low < 1e-9


def test_bad_canaries_are_refused() -> None:
    with pytest.raises(UsageError, match="1 graded"):
        set_accuracy([0.5, 0.5], [0], [1.0])
    with pytest.raises(DataError):
        set_accuracy([0.5, 0.5], [0, 0], [1.0, 0.0])
    with pytest.raises(DataError):
        set_accuracy([0.5, 1.5], [0, 1], [1.0, 0.0])
    assert unaided_accuracy([0.2, 0.6]).value == pytest.approx(0.4)


def sure(table: np.ndarray) -> Trajectory:
    return Trajectory(table, np.full(len(table), 0.1), np.ones(len(table)))


def test_the_uniform_proxy_is_the_mean_and_the_frequent_count_more() -> None:
    rng = np.random.default_rng(0)
    table = rng.random((7, 10))
    frequency = rng.random(7) + 0.01
    found = dict(zip(PROXIES, proxies(Trajectory(table, frequency, np.ones(7))), strict=True))
    for column, name in enumerate(STATISTICS):
        assert found[f"{name}/uniform"] == pytest.approx(table[:, column].mean())
        assert found[f"{name}/frequency"] == pytest.approx(np.average(table[:, column], weights=frequency))
        weights = 1 / frequency
        assert found[f"{name}/inverse_frequency"] == pytest.approx(
            np.average(table[:, column], weights=weights)
        )
        assert found[f"{name}/probability"] == pytest.approx(
            np.average(table[:, column], weights=np.exp(-table[:, 0]))
        )
    assert len(PROXIES) == 80


def test_a_model_that_is_sure_of_everything_has_finite_proxies() -> None:
    table = np.tile([0, 1, 1, 1, 1, 0, 1, 1, 0, 0], (5, 1)).astype(float)
    assert np.isfinite(proxies(sure(table))).all()


def test_bytes_share_a_tokens_nats() -> None:
    table = np.zeros((2, 10))
    table[:, 0] = [3.0, 1.0]
    found = Trajectory(table, np.array([0.2, 0.4]), np.array([3.0, 1.0])).by_bytes()
    np.testing.assert_allclose(found.table[:, 0], [1, 1, 1, 1])
    np.testing.assert_allclose(found.frequency, [0.2, 0.2, 0.2, 0.4])


def test_frequencies_are_smoothed_and_sum_to_one() -> None:
    share = smoothed({"a": 3, "b": 1})
    assert share == {"": pytest.approx(1 / 7), "a": pytest.approx(4 / 7), "b": pytest.approx(2 / 7)}
    assert word_frequencies(["a b a", "a"])["a"] == pytest.approx(4 / 7)


def test_vllms_prompt_logprobs_give_nine_statistics() -> None:
    entries = [
        None,
        {"5": {"logprob": -0.1, "rank": 1}},
        {"7": {"logprob": -2.0, "rank": 4}, "9": {"logprob": -0.5, "rank": 1}},
    ]
    table = from_prompt_logprobs(entries)  # type: ignore[arg-type]
    named = [dict(zip(STATISTICS, row, strict=True)) for row in table]
    assert named[0]["top1"] == 1
    assert named[0]["margin"] == 0
    assert named[1] | {"entropy": 0} == {
        "nll": 2.0,
        "top1": 0.0,
        "top2": 0.0,
        "top3": 0.0,
        "top5": 1.0,
        "entropy": 0,
        "rank": 4.0,
        "reciprocal_rank": 0.25,
        "margin": pytest.approx(np.exp(-0.5) - np.exp(-2.0)),
        "wrong_confidence": pytest.approx(np.exp(-0.5)),
    }
    assert np.isnan(table[:, 5]).all()


def models(seed: int, tasks: int = 8, n: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Proxies of which two carry the truth and 78 are noise."""
    rng = np.random.default_rng(seed)
    accuracy = rng.random((tasks, n))
    table = rng.normal(size=(tasks, n, 80))
    table[..., 3] = accuracy + 0.1 * rng.normal(size=(tasks, n))
    table[..., 40] = -accuracy + 0.1 * rng.normal(size=(tasks, n))
    return table, accuracy


@pytest.mark.parametrize("method", ["linear", "sparse", "single"])
def test_a_ranker_finds_what_tells_models_apart_on_tasks_that_it_has_not_seen(method: str) -> None:
    table, accuracy = models(0)
    scores = leave_tasks_out(table, accuracy, [str(i // 2) for i in range(8)], method=method)  # type: ignore[arg-type]
    assert mean_spearman(scores, accuracy) > (0.6 if method == "linear" else 0.8)


def test_the_order_is_that_of_a_reference_implementation() -> None:
    from scipy.stats import spearmanr

    table, accuracy = models(1)
    one = fit_ranker(table, accuracy, method="single")
    (place,) = np.flatnonzero(one.weights)
    known = [
        np.mean([spearmanr(t[:, i], a).statistic for t, a in zip(table, accuracy, strict=True)])
        for i in (3, 40)
    ]
    assert place == (3, 40)[int(np.argmax(np.abs(known)))]


def test_models_that_nothing_tells_apart_are_refused_and_constant_proxies_are_nothing() -> None:
    table, _ = models(2)
    with pytest.raises(UsageError, match="No task tells"):
        fit_ranker(table, np.full((8, 12), 0.5))
    with pytest.raises(UsageError, match="no method"):
        fit_ranker(table, np.random.default_rng(0).random((8, 12)), method="magic")  # type: ignore[arg-type]
    assert (standardised(np.ones((4, 3))) == 0).all()


def test_pairs_of_a_kind_are_not_counted() -> None:
    assert pairs_right([1, 2, 3], [0.1, 0.5, 0.105]) == (1, 2)


def test_a_level_follows_the_known_models_and_is_wide_where_there_is_one() -> None:
    scores = np.linspace(-1, 1, 8)
    rates = 1 / (1 + np.exp(-2 * scores))
    found = forecast_level(scores, rates, 0.5)
    assert found.rate == pytest.approx(1 / (1 + np.exp(-1.0)), abs=1e-6)
    alone = forecast_level([0.3], [0.6], 0.1)
    assert alone.low < 0.25 < 0.6 < 0.9 < alone.high
    with pytest.raises(UsageError):
        forecast_level([], [], 0.0)
