"""Policies that see more than the prompt: an answer's confidence, the day's spending, the cache, chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from probes.errors import UsageError
from router.configuration.settings import PolicySettings
from router.decisions.cost import expected_cost_usd
from router.fit.acceptance import set_accept
from router.fit.knob import Outcome
from router.policies import Budget, CandidateTable, Explore, Pace, Paced, Pacing, Utility, policy_from
from router.policies.cascade import Cascade
from tests.router.worlds import draw_world

NAMES = ("small", "large")


def two(correct: list[list[float]], cost: list[list[float]]) -> Outcome:
    return Outcome(np.array(correct), np.array(cost), np.ones((len(correct), 2), dtype=bool))


def test_a_cascade_pays_for_every_call_it_makes() -> None:
    outcome = two([[1, 1], [0, 1], [0, 0]], [[1, 10], [2, 20], [3, 30]])
    confidence = np.array([[0.9, 0.1], [0.2, 0.1], [0.8, 0.9]])
    judged = Cascade(NAMES, 0.5).judge(NAMES, confidence, outcome)
    assert judged.correct.tolist() == [1, 1, 0]
    assert judged.cost_usd.tolist() == [1, 22, 3]
    assert judged.calls.tolist() == [1, 2, 1]
    assert Cascade(NAMES, 0.0).judge(NAMES, confidence, outcome).cost_usd.tolist() == [1, 2, 3]


def test_the_gateways_question_is_answered_as_the_replay_does() -> None:
    rng = np.random.default_rng(0)
    names, n = ("a", "b", "c"), 200
    confidence, cost = rng.random((n, 3)), rng.random((n, 3))
    outcome = Outcome((rng.random((n, 3)) < 0.5).astype(float), cost, np.ones((n, 3), dtype=bool))
    cascade = Cascade(("b", "a", "c"), 0.6)
    judged = cascade.judge(names, confidence, outcome)
    for i in range(n):
        asked: list[str] = []
        candidate: str | None = cascade.first
        while candidate is not None:
            asked.append(candidate)
            candidate = cascade.after(candidate, float(confidence[i, names.index(candidate)])).candidate
        assert len(asked) == judged.calls[i]
        assert outcome.correct[i, names.index(asked[-1])] == judged.correct[i]


def test_the_bar_is_the_cheapest_that_keeps_the_accuracy() -> None:
    table, outcome = draw_world(2000, seed=3)
    best = int(outcome.singles[0].argmax())
    ladder = (table.names[0], table.names[best])
    found = set_accept(Cascade(ladder), table.names, table.success, outcome, best)
    assert found is not None
    judged = found.judge(table.names, table.success, outcome)
    assert judged.correct.mean() >= outcome.correct[:, best].mean() - 0.005
    assert judged.cost_usd.mean() < outcome.cost_usd[:, best].mean()
    hopeless = two([[0, 1]] * 10, [[1, 2]] * 10)
    never = set_accept(Cascade(NAMES), NAMES, np.ones((10, 2)), hopeless, 1)
    assert never is None


def test_cascades_refuse_what_makes_no_sense() -> None:
    with pytest.raises(UsageError, match="two or more"):
        Cascade(("small",))
    with pytest.raises(UsageError, match="accept"):
        Cascade(NAMES, 1.5)
    with pytest.raises(UsageError, match="not on the ladder"):
        Cascade(NAMES).after("other", 0.5)
    with pytest.raises(UsageError, match="confidence"):
        Cascade(NAMES).after("small", float("nan"))


def day_of(table: CandidateTable, pacing: Pacing, times_s: Any) -> tuple[Pace, float, int]:
    """Decide queries one by one: the state, the success expected, and decisions after the money was gone."""
    pace, success, broke = pacing.begin(0.0), 0.0, 0
    for i, now_s in enumerate(times_s):
        row = CandidateTable(table.success[i : i + 1], table.cost_usd[i : i + 1], table.names)
        broke += pace.spent_usd >= pacing.budget_usd
        k = int(pacing.policy(pace).choose(row).index[0])
        success += float(table.success[i, k])
        pace = pacing.after(pace, float(now_s), float(table.cost_usd[i, k]))
    return pace, success / len(times_s), broke


@pytest.mark.parametrize("forecast", [1000, 3000, 6000])
@pytest.mark.parametrize("shape", ["steady", "late"])
def test_a_days_budget_is_spent_whatever_the_traffic(forecast: int, shape: str) -> None:
    table, _ = draw_world(3000, seed=8)
    rng = np.random.default_rng(9)
    share = np.sort(rng.random(3000)) if shape == "steady" else np.sort(rng.beta(3, 2, 3000))
    budget = 0.35 * float(table.cost_usd[:, -1].sum())
    pacing = Pacing(budget, expected_queries=forecast, first_usd_per_answer=1e-4)
    pace, accuracy, broke = day_of(table, pacing, share * 86_000)
    known = Budget(budget).choose(table).index
    optimum = float(table.success[np.arange(3000), known].mean())
    assert 0.9 * budget <= pace.spent_usd <= budget + float(table.cost_usd.max())
    # Where the forecast is far off and most come late, much is learnt only when it has been spent.
    assert accuracy >= optimum - (0.03 if forecast == 3000 else 0.06)
    assert broke <= 150


def test_pacing_is_a_pure_function_and_begins_each_period_anew() -> None:
    pacing = Pacing(1.0, expected_queries=10, period_s=100.0)
    state = pacing.begin(50.0)
    first = pacing.after(state, 60.0, 0.2)
    assert first == pacing.after(state, 60.0, 0.2)
    assert state == pacing.begin(50.0)
    assert first.usd_per_answer < state.usd_per_answer  # a dear answer makes money dearer
    assert pacing.after(state, 60.0, 0.0).usd_per_answer > state.usd_per_answer
    gone = pacing.after(first, 61.0, 5.0)
    assert pacing.policy(gone) == Utility(0.0)
    later = pacing.after(gone, 271.0, 0.1)
    assert (later.began_s, later.queries, later.spent_usd) == (250.0, 1, 0.1)
    with pytest.raises(UsageError, match="cost_usd"):
        pacing.after(state, 60.0, float("nan"))
    with pytest.raises(UsageError, match="budget_usd"):
        Pacing(0.0, 10)


def test_switching_pays_for_the_lost_prefix_cache() -> None:
    prices = [[1.0, 2.0], [1.2, 2.0]]
    fresh = expected_cost_usd(prices, [1000], [[100, 100]])
    held = expected_cost_usd(prices, [1000], [[100, 100]], cached_tokens=[[0, 900]])
    assert fresh[0].tolist() == pytest.approx([1.2e-3, 1.4e-3])
    # 900 of the second's 1,000 tokens cost a tenth: 100 · 1.2 + 900 · .12 + 200.
    assert held[0].tolist() == pytest.approx([1.2e-3, 0.428e-3])
    told = expected_cost_usd([[1.0, 2.0, 0.0]], [1000], [[100]], cached_tokens=[[5000]])
    assert told[0, 0] == pytest.approx(0.2e-3)  # never more than the prompt is held
    with pytest.raises(UsageError, match="cached_tokens"):
        expected_cost_usd(prices, [1000], [[100, 100]], cached_tokens=[[-1, 0]])


def test_exploration_draws_with_the_probabilities_that_it_records() -> None:
    n = 20_000
    eligible = np.tile([True, True, False, True], (n, 1))
    table = CandidateTable(np.tile([0.2, 0.9, 1.0, 0.4], (n, 1)), np.ones((n, 4)), tuple("abcd"), eligible)
    choice = Explore(Utility(10.0), 0.3, seed=1).choose(table)
    assert choice.propensity is not None
    np.testing.assert_allclose(choice.propensity.sum(axis=1), 1)
    np.testing.assert_allclose(choice.propensity[0], [0.1, 0.8, 0, 0.1])
    counts = np.bincount(choice.index, minlength=4) / n
    np.testing.assert_allclose(counts, [0.1, 0.8, 0, 0.1], atol=0.01)
    i = int(np.flatnonzero(choice.index == 0)[0])
    assert choice.ranking[i].tolist() == [0, 1, 3, 2]
    assert "random" in choice.reason[i]


def test_without_exploration_nothing_changes() -> None:
    table, _ = draw_world(200, seed=4)
    own = Utility(0.001).choose(table)
    explored = Explore(Utility(0.001), 0.0).choose(table)
    assert (explored.index == own.index).all()
    assert (explored.ranking == own.ranking).all()
    with pytest.raises(UsageError, match="rate"):
        Explore(Utility(1.0), 1.1)


def test_a_pool_file_turns_exploration_on() -> None:
    settings = PolicySettings(rule="utility", value_usd=0.5, explore=0.02)
    assert policy_from(settings) == Explore(Utility(0.5), 0.02)
    assert policy_from(PolicySettings(rule="utility", value_usd=0.5)) == Utility(0.5)


def test_a_cascade_ranks_its_ladder_first_and_leaves_out_who_cannot_answer() -> None:
    success = np.array([[0.2, 0.9, 0.5, 0.7]] * 3)
    able = np.array([[True] * 4, [False, True, True, True], [True, True, False, True]])
    table = CandidateTable(success, np.ones((3, 4)), ("a", "b", "c", "d"), able)
    cascade = Cascade(("c", "a"), 0.8)
    choice = cascade.choose(table)
    names = np.array(table.names)
    kept = [names[row[: able[i].sum()]].tolist() for i, row in enumerate(choice.ranking)]
    assert kept == [["c", "a", "b", "d"], ["c", "b", "d"], ["a", "b", "d"]]
    assert choice.reason[0] == "c first; then a, unless its confidence reaches 0.80"
    assert [cascade.able(ranking) for ranking in kept] == [cascade, None, None]
    with pytest.raises(UsageError, match="no candidate 'x'"):
        Cascade(("x", "a")).choose(table)


def test_a_day_begins_with_what_a_right_answer_was_worth_when_the_router_was_fitted() -> None:
    settings = PolicySettings(rule="budget", budget_usd=2.0, expected_queries=100)
    fitted = {"utility": {"value_usd": 0.003}}
    assert policy_from(settings, fitted) == Pacing(2.0, 100, first_usd_per_answer=0.003)
    assert policy_from(settings) == Pacing(2.0, 100)
    table = CandidateTable(np.array([[0.5, 0.9]]), np.array([[0.001, 0.02]]), NAMES)
    assert policy_from(settings).choose(table).index.tolist() == [0]
    spent = Paced(Pacing(2.0, 100), Pace(0.0, 2.0, 7, 1000.0)).choose(table)
    assert spent.index.tolist() == [0]
    assert spent.reason[0] == "$2 of $2 spent: the cheapest"
