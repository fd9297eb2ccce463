"""From outcomes to a router that saves, and its way to disk and back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from probes.errors import ArtefactError, BackendError, DataError, UsageError
from router.configuration.pool import Pool
from router.decisions.eligibility import Requirements
from router.fit.fitting import fit_router
from router.fit.report import FitReport
from router.fitted import Fitted
from router.policies import CheapestLikely, Explore, Fixed, QualityFloor, Tolerance, Utility
from router.router import Router
from tests.router.pools import make_pool, pool_data
from tests.router.worlds import IDENTITY, StatedDifficulty, chances, difficulty_of

N = 900


def outcomes(n: int = N, seed: int = 0) -> dict[str, Any]:
    """Arguments of `fit_router` for n questions."""
    rng = np.random.default_rng(seed)
    prompts = [f"question {i}: {difficulty:.3f}" for i, difficulty in enumerate(rng.normal(size=n))]
    activations = StatedDifficulty().encode([[{"role": "user", "content": prompt}] for prompt in prompts])
    success = chances(np.array([difficulty_of(prompt) for prompt in prompts]))
    lengths = np.array([20.0, 40.0, 200.0]) * rng.lognormal(0, 0.2, (n, 3))
    return {
        "activations": activations,
        "correct": (rng.random((n, 3)) < success).astype(float),
        "trials": np.ones((n, 3)),
        "output_tokens": lengths,
        "input_tokens": np.tile(activations.n_tokens[:, None], (1, 3)),
        "groups": [f"g{i // 2}" for i in range(n)],
        "datasets": [("algebra", "words")[i % 2] for i in range(n)],
        "identity": IDENTITY,
    }


@pytest.fixture(scope="module", name="fit")
def _fit() -> tuple[Router, FitReport]:
    return fit_router(make_pool(), **outcomes())


@pytest.fixture(name="router")
def _router(fit: tuple[Router, FitReport]) -> Router:
    made = fit[0]
    return Router(
        made.pool, made.scorer, made.fitted, made.identity, encoder=StatedDifficulty(), record=made.record
    )


def test_the_report_tells_what_the_probes_know_and_what_routing_saves(fit: tuple[Router, FitReport]) -> None:
    report = fit[1]

    assert sum(report.queries.values()) == N
    assert (report.best, report.cheapest) == ("m:think", "s")
    for probe in report.candidates.values():
        assert probe.auroc > 0.8
        assert probe.auroc_within > 0.8
        assert probe.brier < probe.brier_base
    for rule in ("cheapest-likely", "tolerance", "utility"):
        routed = report.routed[rule]
        assert routed.cost_ratio < 0.9
        assert routed.accuracy > report.singles[report.best].accuracy - 0.06
        assert routed.saving_ci[0] < 1 - routed.cost_ratio < routed.saving_ci[1]
        assert sum(routed.served_by.values()) == report.queries["test"]
    assert report.oracle.accuracy >= report.singles[report.best].accuracy
    assert report.scout_cost_usd > 0
    json.dumps(report.to_dict(), allow_nan=False)


def test_easy_questions_go_to_cheap_candidates_and_hard_ones_to_dear_ones(router: Router) -> None:
    easy, hard = router.decide_many(["question a: -2.6", "question b: 1.5"])

    assert easy.candidate == "s"
    assert hard.candidate != "s"
    assert easy.success["s"] > 0.8 > 0.4 > hard.success["s"]
    assert easy.ranking[0] == easy.candidate
    assert not easy.novel


def test_fitted_knobs_serve_where_the_pool_leaves_them_open(router: Router) -> None:
    assert router.policy("cheapest-likely") == CheapestLikely(**router.fitted.knobs["cheapest-likely"])
    assert router.policy("tolerance") == Tolerance(**router.fitted.knobs["tolerance"])
    assert router.policy("careful") == Tolerance(0.01)
    assert router.policy("quality-floor") in (
        QualityFloor(**router.fitted.knobs["quality-floor"]),
        Fixed("m:think"),
    )
    with pytest.raises(UsageError, match="no policy 'carefull'") as caught:
        router.policy("carefull")
    assert caught.value.hint == "Did you mean careful?"


def test_a_rule_that_did_not_pay_leaves_the_work_to_the_safe_candidate(router: Router) -> None:
    router.fitted = replace(router.fitted, static=("cheapest-likely",), rule="cheapest-likely")

    assert router.policy() == router.policy("cheapest-likely") == Fixed(router.safe_candidate)
    router.pool = make_pool(policy={"min_success": 0.6})
    assert router.policy() == CheapestLikely(0.6), "the operator's own knob is kept"


def test_a_pool_that_names_no_rule_gets_the_one_that_fitting_chose(
    router: Router, fit: tuple[Router, FitReport]
) -> None:
    report = fit[1]

    assert router.pool.policy.rule == "fitted"
    assert report.rule == router.fitted.rule
    assert router.policy() == router.policy("fitted") == router.policy(report.rule)
    router.fitted = replace(router.fitted, rule="utility", static=())
    assert router.policy() == Utility(**router.fitted.knobs["utility"])
    assert router.decide("question 1: 0.0").policy == "utility"
    router.pool = make_pool(policy={"rule": "fitted", "explore": 0.1})
    assert router.policy() == Explore(router.policy("utility"), 0.1), "what goes with any rule is kept"


def test_an_artefact_of_a_time_without_comparison_keeps_its_rule(router: Router) -> None:
    data = router.fitted.to_dict()
    del data["rule"]

    assert Fitted.from_dict(data).rule == "cheapest-likely"
    for foreign in ("fitted", "cheapest", None):
        with pytest.raises(ArtefactError, match="unknown"):
            Fitted.from_dict(data | {"rule": foreign})


def test_messages_prompts_and_activations_are_decided_alike(router: Router) -> None:
    prompt = "question 7: 0.5"
    conversation = [{"role": "user", "content": prompt}]
    activations = StatedDifficulty().encode([conversation])
    decisions = [
        router.decide(prompt),
        router.decide(conversation),
        router.decide_many([prompt])[0],
        router.decide_activations(activations),
        router.decide_batch(activations)[0],
    ]

    assert len({json.dumps(d.to_dict() | {"id": ""}, sort_keys=True) for d in decisions}) == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        pytest.param(RuntimeError("CUDA out of memory"), "the scout failed (RuntimeError)", id="crash"),
        pytest.param(BackendError("gone"), "the scout failed (gone)", id="backend"),
    ],
)
def test_an_error_of_the_scout_fails_open(
    fit: tuple[Router, FitReport], error: Exception, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = fit[0]
    broken = StatedDifficulty(fail=error)
    router = Router(made.pool, made.scorer, made.fitted, made.identity, encoder=broken)
    decision = router.decide("question 1: 0.0")

    assert decision.candidate == router.safe_candidate == "m:think"
    assert decision.reason.startswith(words)
    assert decision.success == pytest.approx(dict(made.fitted.success))


def test_the_callers_mistakes_are_not_swallowed(router: Router) -> None:
    with pytest.raises(UsageError, match="messages"):
        router.decide([])
    with pytest.raises(UsageError, match="no candidate 'x'"):
        router.decide("question 1: 0.0", exclude=["x"])


def test_a_query_that_nobody_read_is_decided_by_its_text_alone(router: Router) -> None:
    short = [{"role": "user", "content": "hello"}]
    long = [{"role": "user", "content": "hello " * 1000}]

    assert router.decide_activations(None, failure="timeout", conversation=short).reason.startswith("timeout")
    decision = router.decide_activations(None, conversation=long, policy="careful")
    assert "s" in decision.ineligible
    assert router.decide_activations(None, requirements=Requirements(tools=True)).candidate == "m"


def test_a_prompt_unlike_the_others_is_novel(router: Router) -> None:
    activations = StatedDifficulty().encode([[{"role": "user", "content": "question 1: 0.0"}]])
    strange = replace(activations, values=activations.values + np.float16(60))

    assert router.decide_activations(strange).novel
    assert router.decide_activations(strange).candidate == router.safe_candidate


def test_a_saved_router_decides_the_same(router: Router, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "router"
    router.save(folder)
    again = Router.load(folder, encoder=StatedDifficulty())

    prompts = [f"question {i}: {d}" for i, d in enumerate(np.linspace(-2, 2, 9))]
    for one, other in zip(router.decide_many(prompts), again.decide_many(prompts), strict=True):
        assert one.candidate == other.candidate
        assert one.success == pytest.approx(other.success, abs=1e-5)
    assert again.record["splits"]["test"]["queries"] > 0
    assert again.pool == router.pool
    assert sorted(path.name for path in folder.iterdir()) == ["probes.safetensors", "router.json"]
    assert [path.name for path in folder.parent.iterdir()] == ["router"], "nothing temporary is left"


def test_saving_replaces_a_router_and_nothing_else(router: Router, tmp_path: Path) -> None:
    router.save(tmp_path / "router")
    (tmp_path / "router" / "router.json").write_text("{}")
    router.save(tmp_path / "router")
    assert Router.load(tmp_path / "router").pool == router.pool

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("dear")
    with pytest.raises(UsageError, match="is no router"):
        router.save(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "dear"


def test_todays_pool_may_change_prices_and_leave_candidates_out(router: Router, tmp_path: Path) -> None:
    router.save(tmp_path / "router")
    data = pool_data()
    data["candidates"] = [data["candidates"][2], data["candidates"][0]]
    data["candidates"][0]["price"] = {"usd_per_mtok_in": 0, "usd_per_mtok_out": 0}
    pool = Pool.parse(data, folder=Path("/pools"))
    again = Router.load(tmp_path / "router", pool=pool, encoder=StatedDifficulty())
    decision, before = again.decide("question 1: -1"), router.decide("question 1: -1")

    assert decision.candidate == "m:think"
    assert decision.success == pytest.approx({name: before.success[name] for name in pool.names}, abs=1e-5)

    data["candidates"][0]["name"] = "m:more"
    with pytest.raises(ArtefactError, match="not fitted for 'm:more'"):
        Router.load(tmp_path / "router", pool=Pool.parse(data, folder=Path("/pools")))


def test_an_artefact_that_does_not_fit_is_refused(router: Router, tmp_path: Path) -> None:
    router.save(tmp_path / "router")
    for change, param in (
        ({"revision": "x" * 64}, "scout.revision"),
        ({"template_hash": "x" * 64}, "scout.template_hash"),
        ({"layers": (1, 3)}, "scout.layers"),
    ):
        with pytest.raises(ArtefactError) as caught:
            Router.load(tmp_path / "router", encoder=StatedDifficulty(replace(IDENTITY, **change)))
        assert caught.value.param == param


def test_a_damaged_artefact_is_refused(router: Router, tmp_path: Path) -> None:
    folder = tmp_path / "router"
    router.save(folder)
    manifest, probes = folder / "router.json", folder / "probes.safetensors"
    good, good_probes = manifest.read_text(), probes.read_bytes()

    def refused(words: str) -> None:
        with pytest.raises(ArtefactError, match=words):
            Router.load(folder)
        manifest.write_text(good)
        probes.write_bytes(good_probes)

    manifest.write_text(good.replace('"schema_version": 1', '"schema_version": 99'))
    refused("schema_version 99")
    manifest.write_text("{")
    refused("cannot be read")
    manifest.write_text(json.dumps({k: v for k, v in json.loads(good).items() if k != "fitted"}))
    refused("damaged: .*fitted")
    arrays = load_file(probes)
    save_file({name: array + 1 for name, array in arrays.items()}, probes)
    refused("missing or damaged")
    probes.unlink()
    refused("missing or damaged")
    manifest.unlink()
    refused("is no router")


@pytest.mark.parametrize(
    ("change", "param"),
    [
        pytest.param(lambda a: a["correct"].__setitem__((0, 0), 2.0), "correct", id="rate above one"),
        pytest.param(lambda a: a.update(correct=a["correct"][:, :2]), "correct", id="a column short"),
        pytest.param(lambda a: a["correct"][:, 1].fill(np.nan), "correct", id="no outcomes"),
        pytest.param(lambda a: a.update(groups=a["groups"][1:]), "groups", id="a group short"),
    ],
)
def test_bad_outcomes_are_refused(change: Any, param: str) -> None:
    arguments = outcomes(60)
    change(arguments)
    with pytest.raises(DataError) as caught:
        fit_router(make_pool(), **arguments)

    assert caught.value.param == param


def test_too_few_questions_are_refused() -> None:
    with pytest.raises(DataError, match="20 queries are too few"):
        fit_router(make_pool(), **outcomes(20))


def test_missing_outcomes_are_no_obstacle() -> None:
    arguments = outcomes(400)
    hidden = np.random.default_rng(1).random((400, 3)) < 0.3
    for name in ("correct", "output_tokens"):
        arguments[name][hidden] = np.nan
    router, report = fit_router(make_pool(), **arguments)

    assert router.fitted.safe_candidate == report.best
    assert all(probe.auroc > 0.7 for probe in report.candidates.values())
