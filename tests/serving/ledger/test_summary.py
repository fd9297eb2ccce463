"""Every sum and share of a window, against the same worked out with numpy from the rows that were put in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import norm

from serving.flow.record import Exchange, TokenCount
from serving.ledger.database import Database
from serving.ledger.reading import decisions, money, traffic
from serving.ledger.reading.calibration import DRIFT_SIGMA, drift, labels, reliability
from serving.ledger.reading.window import Window
from serving.ledger.store import Store
from tests.serving.ledger.rows import NOW_S, POOL, decided, decision, exchange, finished, rated

WINDOW = Window(NOW_S, NOW_S + 3600)
N = 400


@dataclass(frozen=True)
class World:
    """A filled ledger, and what was put into it."""

    database: Database
    exchanges: list[Exchange]
    at_s: list[float]
    correct: dict[str, float]

    def inside(self) -> list[Exchange]:
        return [e for e, at_s in zip(self.exchanges, self.at_s, strict=True) if NOW_S <= at_s < NOW_S + 3600]


@pytest.fixture
def world(store: Store) -> World:
    """Some traffic within the window, and some before and after it."""
    rng = np.random.default_rng(0)
    entries, found, times, correct = [], [], [], {}
    for _ in range(N):
        name = "small" if rng.random() < 0.7 else "large"
        policy = "named" if rng.random() < 0.1 else "cheapest-likely"
        success = float(np.round(rng.uniform(0.3, 0.99), 3))
        known = {"success": {}, "expected_cost_usd": {}} if policy == "named" else {}
        chosen = decision(name, success, policy=policy, novel=bool(rng.random() < 0.2), **known)
        at_s = NOW_S + float(rng.uniform(-600, 4200))
        tokens = TokenCount(int(rng.integers(5, 90)), int(rng.integers(1, 200)), exact=True)
        price = POOL[name].price
        cost_usd = (tokens.input * price.usd_per_mtok_in + tokens.output * price.usd_per_mtok_out) / 1e6
        finish = ["ok", "error", "aborted"][rng.choice(3, p=[0.8, 0.1, 0.1])]
        gone = {"candidate": None, "tokens": None, "cost_usd": None} if finish == "error" else {}
        fields = {
            "tokens": tokens,
            "cost_usd": cost_usd,
            "finish": finish,
            "total_s": float(rng.exponential()),
        }
        one = exchange(chosen, **{**fields, **gone})
        entries += [decided(chosen, at_s), finished(one, at_s)]
        found.append(one)
        times.append(at_s)
        if rng.random() < 0.5:
            correct[chosen.id] = float(rng.random() < success)
            entries.append(rated(chosen.id, correct[chosen.id], at_s=at_s))
    store.write(entries)
    return World(store.database, found, times, correct)


def test_totals(world: World) -> None:
    inside, told = world.inside(), money.totals(world.database, WINDOW)
    ratings = [world.correct[e.decision.id] for e in inside if e.decision.id in world.correct]

    assert told.requests == told.decisions == len(inside) > 200
    assert (told.ok, told.errors, told.aborted) == tuple(
        sum(e.finish == end for e in inside) for end in ("ok", "error", "aborted")
    )
    assert told.spend_usd == pytest.approx(sum(e.cost_usd or 0 for e in inside))
    assert told.scout_usd == pytest.approx(1e-7 * len(inside))
    assert told.output_tokens == sum(e.tokens.output for e in inside if e.tokens)
    assert told.novel == sum(e.decision.novel for e in inside)
    assert told.novelty_rate == told.novel / told.decisions
    assert told.rated == len(ratings)
    assert told.mean_rating == pytest.approx(np.mean(ratings))


@pytest.mark.parametrize("basis", ["expected", "actual"])
def test_saving_is_a_ratio_with_the_interval_of_the_delta_method(world: World, basis: str) -> None:
    price = POOL["large"].price
    spent, other = [], []
    for e in world.inside():
        if e.finish != "ok" or e.decision.policy == "named":
            continue
        assert e.tokens is not None
        assert e.cost_usd is not None
        actual = (e.tokens.input * price.usd_per_mtok_in + e.tokens.output * price.usd_per_mtok_out) / 1e6
        guessed = actual if e.candidate == "large" else e.decision.expected_cost_usd["large"]
        spent.append(e.cost_usd + e.decision.scout_cost_usd)
        other.append(actual if basis == "actual" else guessed)
    c, b = np.array(spent), np.array(other)
    ratio = c.sum() / b.sum()
    half = norm.ppf(0.975) * np.std(c - ratio * b, ddof=1) / np.sqrt(len(c)) / b.mean()

    told = money.saving(world.database, WINDOW, basis)  # type: ignore[arg-type]
    assert (told.reference, told.requests) == ("large", len(c))
    assert told.saved_usd == pytest.approx(b.sum() - c.sum())
    assert told.share == pytest.approx(1 - ratio)
    assert (told.low, told.high) == pytest.approx((1 - ratio - half, 1 - ratio + half), rel=1e-4)


def test_traffic_by_candidate_and_over_time(world: World) -> None:
    told = traffic.by_candidate(world.database, WINDOW)
    answered = [e for e in world.inside() if e.candidate]

    assert [row.candidate for row in told] == ["small", "large"]
    assert sum(row.share for row in told) == pytest.approx(1)
    for row in told:
        own = [e for e in answered if e.candidate == row.candidate]
        predicted = [e.decision.success[row.candidate] for e in own if e.decision.success]
        assert row.requests == len(own)
        assert row.ok == sum(e.finish == "ok" for e in own)
        assert row.spend_usd == pytest.approx(sum(e.cost_usd or 0 for e in own))
        assert row.predicted == pytest.approx(np.mean(predicted))
        assert row.mean_s == pytest.approx(np.mean([e.total_s for e in own]))
    slices = traffic.timeline(world.database, WINDOW, 12)
    assert {(slot.at_s % 300, NOW_S - 300 < slot.at_s < NOW_S + 3600) for slot in slices} == {(0, True)}
    for row in told:
        of_time = [slot for slot in slices if slot.candidate == row.candidate]
        assert sum(slot.requests for slot in of_time) == row.requests
        assert sum(slot.spend_usd for slot in of_time) == pytest.approx(row.spend_usd)


def test_latencies_are_quantiles_of_complete_answers(world: World) -> None:
    whole = [e.total_s for e in world.inside() if e.finish == "ok"]
    told = traffic.latency(world.database, WINDOW)

    assert told.n == len(whole)
    expected = zip(traffic.QUANTILES, np.quantile(whole, traffic.QUANTILES), strict=True)
    assert told.total_s == pytest.approx(dict(expected))
    assert told.first_byte_s[0.5] == pytest.approx(0.1)
    assert traffic.latency(world.database, WINDOW, "small").n < told.n


def test_recent_decisions_are_turned_page_by_page(world: World) -> None:
    page = decisions.recent(world.database, 10)
    then = decisions.recent(world.database, 10, before_s=page[-1].decided_s)

    newest = sorted(world.at_s, reverse=True)
    assert [row.decided_s for row in (*page, *then)] == newest[:20]


def test_predicted_against_observed_in_bins(world: World) -> None:
    pairs = []
    for e in world.inside():
        if e.candidate == "small" and e.decision.success and e.decision.id in world.correct:
            pairs.append((e.decision.success["small"], world.correct[e.decision.id]))
    p, y = np.array(pairs).T

    told = reliability(world.database, WINDOW, "small", n_bins=5)
    assert sum(one.n_labels for one in told) == len(p)
    for one in told:
        mine = (p > one.predicted // 0.2 * 0.2) & (p <= one.predicted // 0.2 * 0.2 + 0.2)
        assert one.n_labels == mine.sum()
        assert one.predicted == pytest.approx(p[mine].mean())
        assert one.observed == pytest.approx(y[mine].mean())
        assert 0 <= one.low <= one.observed <= one.high <= 1
    assert {label.router for label in labels(world.database, WINDOW)} == {"fit-1"}
    assert list(labels(world.database, WINDOW, router="fit-2")) == []


def test_honest_probabilities_have_not_drifted_and_wrong_ones_have(store: Store) -> None:
    rng = np.random.default_rng(1)
    entries = []
    for _ in range(300):
        for name, truth in (("small", 0.9), ("large", 0.6)):
            chosen = decision(name, 0.9, success={"small": 0.9, "large": 0.9})
            entries += [decided(chosen), finished(exchange(chosen))]
            entries.append(rated(chosen.id, float(rng.random() < truth)))
    store.write(entries)

    large, small = drift(store.database, WINDOW)
    assert (small.candidate, small.n_labels, small.drifted) == ("small", 300, False)
    assert abs(small.sigma) < DRIFT_SIGMA
    assert (large.candidate, large.drifted) == ("large", True)
    expected = 300 * (large.observed - 0.9) / np.sqrt(300 * 0.9 * 0.1)
    assert large.sigma == pytest.approx(expected)
    assert large.ece == pytest.approx(0.9 - large.observed)


def test_an_empty_ledger_has_nothing_to_say(store: Store) -> None:
    store.prepare()
    database = store.database

    assert money.totals(database, WINDOW).requests == 0
    assert money.totals(database, WINDOW).novelty_rate is None
    assert money.saving(database, WINDOW).share is None
    assert traffic.by_candidate(database, WINDOW) == traffic.timeline(database, WINDOW) == ()
    assert traffic.latency(database, WINDOW).total_s == {}
    assert decisions.recent(database) == reliability(database, WINDOW) == drift(database, WINDOW) == ()
