"""Decisions from scores: eligibility, wishes, policy, and what happens when nothing is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from probes.errors import UsageError
from router.decisions.deciding import Scores, decide
from router.decisions.decision import Decision
from router.decisions.eligibility import Requirements
from router.decisions.wishes import Options, Wishes, parse_options
from router.policies import CheapestLikely, Fixed, Policy, Tolerance, Utility
from tests.router.pools import make_pool


def scores(**changes: Any) -> Scores:
    """One query that `s` answers with .5, `m` with .8 and `m:think` with .9."""
    known: dict[str, Any] = {
        "success": np.array([[0.5, 0.8, 0.9]]),
        "output_tokens": np.array([[100.0, 100.0, 300.0]]),
        "input_tokens": np.array([100.0]),
        "novelty": np.array([1.0]),
        "novel": np.array([False]),
    }
    return Scores(**known | changes)


def one(known: Scores, default: Policy | None = None, **options: Any) -> Decision:
    """The decision for one query; by default the cheapest with success of .7."""
    wishes, needs = parse_options(Options(**options))  # type: ignore[typeddict-item]
    chosen = wishes.chosen_policy(lambda name: default or CheapestLikely(0.7))
    return decide(make_pool(), known, chosen, "m:think", wishes, needs)[0]


def test_a_decision_explains_itself() -> None:
    decision = one(scores())

    assert decision.candidate == "m"
    assert decision.policy == "cheapest-likely"
    assert decision.reason == "cheapest of 2 with success ≥ 0.70 (0.80)"
    assert decision.success == {"s": 0.5, "m": 0.8, "m:think": 0.9}
    assert decision.expected_cost_usd == pytest.approx({"s": 3e-4, "m": 3e-3, "m:think": 7e-3})
    assert decision.expected_output_tokens == {"s": 100.0, "m": 100.0, "m:think": 300.0}
    assert decision.ranking == ("m", "m:think", "s")
    assert decision.scout_cost_usd == pytest.approx(5e-5)
    assert (decision.input_tokens, decision.novelty, decision.novel) == (100, 1.0, False)
    assert decision.to_dict()["ranking"] == ["m", "m:think", "s"]
    assert decision.id != one(scores()).id


def test_the_ineligible_are_told_and_never_ranked() -> None:
    decision = one(scores(), requirements=Requirements(tools=True))

    assert decision.ranking == ("m",)
    assert set(decision.ineligible) == {"s", "m:think"}
    with pytest.raises(UsageError, match=r"No candidate can answer.*s: it does not support images"):
        one(scores(), requirements=Requirements(vision=True))


def test_the_clients_limit_bounds_the_expected_length() -> None:
    decision = one(scores(), requirements=Requirements(max_output_tokens=10, n=2))

    assert decision.expected_output_tokens["m:think"] == 10
    assert decision.expected_cost_usd["m"] == pytest.approx((100 * 10 + 2 * 10 * 20) / 1e6)


@pytest.mark.parametrize(
    ("options", "candidate", "policy"),
    [
        pytest.param({"quality": 0.0}, "s", "tolerance", id="cheapest"),
        pytest.param({"quality": 0.9}, "m", "tolerance", id="nearly best"),
        pytest.param({"quality": 1.0}, "m:think", "tolerance", id="most likely"),
        pytest.param({"min_success": 0.85}, "m:think", "cheapest-likely", id="a bar"),
        pytest.param({"min_success": 0.3}, "s", "cheapest-likely", id="a low bar"),
        pytest.param({"policy": Utility(0.0)}, "s", "utility", id="own policy"),
        pytest.param({"policy": Utility(0.0), "min_success": 0.6}, "m", "utility", id="policy and bar"),
        pytest.param({"policy": Utility(0.0), "min_success": 0.99}, "s", "utility", id="a bar for nobody"),
        pytest.param({"max_cost_usd": 0.001}, "s", "cheapest-likely", id="a limit of cost"),
        pytest.param({"exclude": ["m"]}, "m:think", "cheapest-likely", id="excluded"),
    ],
)
def test_a_request_may_wish(options: dict[str, Any], candidate: str, policy: str) -> None:
    decision = one(scores(), **options)

    assert (decision.candidate, decision.policy) == (candidate, policy)


def test_what_a_wish_rules_out_is_explained() -> None:
    decision = one(scores(), max_cost_usd=0.001)

    assert decision.ranking == ("s",)
    assert decision.ineligible["m"] == "expected cost $0.003 is above $0.001"
    assert one(scores(), policy=Utility(0.0), min_success=0.6).ineligible == {
        "s": "success 0.50 is below 0.60"
    }


@pytest.mark.parametrize(
    ("options", "param"),
    [
        pytest.param({"quality": 1.1}, "quality", id="quality"),
        pytest.param({"min_success": -0.1}, "min_success", id="min_success"),
        pytest.param({"max_cost_usd": float("nan")}, "max_cost_usd", id="nan"),
        pytest.param({"quality": 0.5, "policy": "careful"}, "quality", id="two policies"),
        pytest.param({"max_cost_usd": 1e-6}, "max_cost_usd", id="too little money"),
    ],
)
def test_impossible_wishes_name_the_field(options: dict[str, Any], param: str) -> None:
    with pytest.raises(UsageError) as caught:
        one(scores(), **options)

    assert caught.value.param == param


def test_a_novel_prompt_goes_to_the_safe_candidate() -> None:
    novel = scores(novelty=np.array([42.0]), novel=np.array([True]))
    decision = one(novel)

    assert (decision.candidate, decision.policy, decision.novel) == ("m:think", "safe", True)
    assert decision.reason == "unlike the fitted prompts (novelty 42); safe candidate: always m:think"
    assert one(novel, Fixed("s")).candidate == "s", "a policy that reads no probability is not misled by one"


def test_an_unread_prompt_goes_to_the_safe_candidate_and_is_not_charged() -> None:
    decision = one(scores(novelty=None, novel=None, unread="the scout failed"))

    assert (decision.candidate, decision.policy, decision.novelty) == ("m:think", "safe", None)
    assert decision.reason.startswith("the scout failed; safe candidate: ")
    assert decision.scout_cost_usd == 0


def test_a_safe_candidate_that_cannot_answer_is_followed_by_the_most_likely() -> None:
    decision = one(scores(unread="late"), requirements=Requirements(exclude=("m:think",)))

    assert decision.candidate == "m"
    assert "m:think cannot answer" in decision.reason


def test_a_batch_decides_as_one_by_one() -> None:
    rng = np.random.default_rng(0)
    batch = Scores(
        rng.random((20, 3)),
        rng.random((20, 3)) * 200,
        rng.random(20) * 100,
        rng.random(20),
        rng.random(20) > 0.7,
    )
    together = decide(make_pool(), batch, Tolerance(0.2), "m", Wishes(), Requirements())
    for i, decision in enumerate(together):
        row = slice(i, i + 1)
        alone = Scores(**{name: part[row] for name, part in vars(batch).items() if part is not None})
        again = decide(make_pool(), alone, Tolerance(0.2), "m", Wishes(), Requirements())[0]

        assert decision.to_dict() | {"id": ""} == again.to_dict() | {"id": ""}
