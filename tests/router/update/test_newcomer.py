"""A candidate joins a fitted router with few labels, or none; nobody else is moved."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from probes.errors import DataError, UsageError
from router.configuration.pool import Pool
from router.fit.fitting import fit_router
from router.router import Router
from router.update.answers import Answers
from router.update.newcomer import add
from tests.router.fit.test_fitting import outcomes
from tests.router.pools import make_pool, pool_data
from tests.router.worlds import StatedDifficulty

NEW = "xl"
LEVEL = 3.0
N = 3000


def grown_pool() -> Pool:
    """The pool with one candidate more."""
    data = pool_data()
    data["candidates"].append(data["candidates"][1] | {"name": NEW})
    return make_pool(candidates=data["candidates"])


@pytest.fixture(scope="module", name="router")
def _router() -> Router:
    made, _ = fit_router(make_pool(), **outcomes())
    return Router(
        made.pool, made.scorer, made.fitted, made.identity, encoder=StatedDifficulty(), record=made.record
    )


def difficulties(n: int, seed: int = 9) -> np.ndarray[Any, np.dtype[np.float64]]:
    """As drawn by the world."""
    return np.random.default_rng(seed).normal(size=n).round(3)


def success(difficulty: np.ndarray[Any, Any], level: Any = LEVEL) -> np.ndarray[Any, Any]:
    """The newcomer's chances."""
    return np.asarray(1 / (1 + np.exp(2.5 * difficulty - level)))


def answers(n: int, level: float = LEVEL, *, seed: int = 9, pool: bool = False) -> Answers:
    """Graded answers of the newcomer."""
    hard = difficulties(n, seed)
    prompts = [[{"role": "user", "content": f"new {i}: {d:.3f}"}] for i, d in enumerate(hard)]
    features = StatedDifficulty().encode(prompts).features()
    rng = np.random.default_rng(seed + 1)
    others = np.full((n, 3), np.nan)
    if pool:
        others = (rng.random((n, 3)) < success(hard[:, None], np.array([-1.0, 2.4, 4.4]))).astype(float)
    correct = (rng.random(n) < success(hard, level)).astype(float)
    return Answers(features, correct, np.ones(n), np.full(n, 60.0), others)


def test_with_no_label_it_ranks_as_the_others_do(router: Router) -> None:
    grown, report = add(router, NEW, pool=grown_pool(), level=0.8)
    test = answers(N, seed=77)
    found = grown.scorer.score(test.features).success[:, 3]

    assert (report.kind, report.n_labels, report.canary.verdict) == ("candidate", 0, "unknown")
    assert report.level == pytest.approx(0.8, abs=1e-6)
    assert found.mean() == pytest.approx(0.8, abs=0.03)
    assert np.corrcoef(found, success(difficulties(N, 77)))[0, 1] > 0.9
    assert report.errors == ()


@pytest.mark.parametrize("pool", [False, True])
def test_labels_bring_its_level_nearer_the_truth(router: Router, pool: bool) -> None:
    truth = success(difficulties(20_000, 5)).mean()
    grown, report = add(router, NEW, answers(200, pool=pool, seed=12), pool=grown_pool())

    assert report.level == pytest.approx(truth, abs=0.05)
    assert report.canary.verdict == "ranks"
    assert [row.n_labels for row in report.errors] == [0, 20, 50, 100, 200]
    errors = [row.error for row in report.errors]
    assert errors[1] > errors[2] > errors[4]
    assert report.output_tokens == grown.fitted.output_tokens[NEW] == 60
    assert grown.fitted.success[NEW] == report.level


def test_nobody_else_is_moved(router: Router) -> None:
    before = router.scorer.score(answers(50).features)
    grown, _ = add(router, NEW, answers(50), pool=grown_pool())
    after = grown.scorer.score(answers(50).features)

    np.testing.assert_allclose(after.success[:, :3], before.success, atol=1e-6)
    np.testing.assert_allclose(after.output_tokens[:, :3], before.output_tokens, rtol=1e-5)
    assert grown.fitted.knobs == router.fitted.knobs
    assert grown.safe_candidate == router.safe_candidate == "m:think"
    assert router.fitted.candidates == ("s", "m", "m:think")


def test_a_grown_router_comes_back_from_disk_and_routes_to_the_newcomer(
    router: Router, tmp_path: Path
) -> None:
    grown, report = add(router, NEW, answers(200), pool=grown_pool())
    grown.save(tmp_path / "router")
    again = Router.load(tmp_path / "router", encoder=StatedDifficulty())
    decision = again.decide("question 1: 0.0", exclude=["s", "m", "m:think"])

    assert decision.candidate == NEW
    assert set(decision.success) == {"s", "m", "m:think", NEW}
    entry = {"candidate": NEW, "kind": "candidate", "labels": 200}
    assert again.record["added"] == [entry | {"level": report.level, "verdict": "ranks"}]
    assert again.record["splits"] == router.record["splits"]
    json.dumps(report.to_dict(), allow_nan=False)


def test_a_new_checkpoint_keeps_its_directions_and_gets_a_new_level(router: Router) -> None:
    better = answers(400, level=5.0)
    grown, report = add(router, "m", better)
    truth = success(difficulties(20_000, 5), 5.0).mean()

    assert (report.kind, report.candidate, report.level_before) == (
        "checkpoint",
        "m",
        router.fitted.success["m"],
    )
    assert report.level == pytest.approx(truth, abs=0.06)
    assert grown.fitted.success["m"] == report.level > router.fitted.success["m"] + 0.1
    np.testing.assert_array_equal(grown.scorer.probes.loadings, router.scorer.probes.loadings)
    before, after = (r.scorer.score(better.features).success for r in (router, grown))
    np.testing.assert_allclose(np.delete(after, 1, 1), np.delete(before, 1, 1), atol=1e-6)


def test_a_checkpoint_with_a_forecast_alone_is_moved_there(router: Router) -> None:
    grown, report = add(router, "s", level=0.6)
    found = grown.scorer.score(answers(N, seed=77).features).success[:, 0]

    assert report.level == 0.6
    assert found.mean() == pytest.approx(0.6, abs=0.05)


def test_a_newcomer_whose_answers_the_directions_do_not_rank_is_told(router: Router) -> None:
    some = answers(400)
    shuffled = replace(some, correct=np.random.default_rng(0).permutation(some.correct))
    _, report = add(router, NEW, shuffled, pool=grown_pool())

    assert report.canary.verdict == "weaker"
    assert report.canary.high < report.canary.expected


def test_what_cannot_be_added_is_refused(router: Router) -> None:
    with pytest.raises(UsageError, match="No pool describes 'xl'") as caught:
        add(router, NEW, answers(20))
    assert "--pool" in str(caught.value.hint)
    with pytest.raises(UsageError, match="nothing is known"):
        add(router, "m")
    for level in (0.0, 1.0, -0.2, float("nan")):
        with pytest.raises(UsageError, match="level must lie between"):
            add(router, "m", level=level)
    with pytest.raises(DataError, match="no graded answer"):
        add(router, "m", replace(answers(20), correct=np.full(20, np.nan)))
    with pytest.raises(DataError, match=r"\[0, 1\]|within"):
        add(router, "m", replace(answers(20), correct=np.full(20, 7.0)))


def test_a_level_is_told_for_queries_like_those_of_the_fit(router: Router) -> None:
    """Answered queries that are all easy do not make the newcomer look good."""
    some = answers(2000, seed=3)
    easy = np.flatnonzero(difficulties(2000, 3) < 0)
    few = Answers(**{name: value[easy] for name, value in vars(some).items()})
    _, report = add(router, NEW, few, pool=grown_pool())

    assert few.correct.mean() > 0.97
    assert report.level == pytest.approx(success(difficulties(20_000, 5)).mean(), abs=0.06)
