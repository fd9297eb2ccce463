"""Expected costs, and who can answer at all."""

from __future__ import annotations

import numpy as np
import pytest

from probes.errors import UsageError
from router.decisions.cost import expected_cost_usd, scout_cost_usd
from router.decisions.eligibility import Requirements, eligible
from tests.router.pools import make_pool


def test_cost_is_price_times_tokens_per_million() -> None:
    cost = expected_cost_usd([[1.0, 2.0], [10.0, 20.0]], [1000, 0], [[500, 500], [1, 0]])

    assert cost == pytest.approx(np.array([[0.002, 0.02], [2e-6, 0.0]]))
    assert scout_cost_usd(0.5, [1000]) == pytest.approx([0.0005])


def test_each_candidate_may_count_prompt_tokens_for_itself() -> None:
    cost = expected_cost_usd([[1.0, 0.0], [1.0, 0.0]], [[10, 20]], [[0, 0]])

    assert cost == pytest.approx(np.array([[1e-5, 2e-5]]))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="do not fit"):
        expected_cost_usd([[1.0, 2.0]], [1, 2], [[1, 2]])


@pytest.mark.parametrize(
    ("requirements", "reasons"),
    [
        pytest.param(Requirements(), {}, id="plain text"),
        pytest.param(
            Requirements(tools=True),
            {"s": "it does not support tools", "m:think": "it does not support tools"},
            id="tools",
        ),
        pytest.param(
            Requirements(vision=True, logprobs=True),
            {
                "s": "it does not support logprobs, images",
                "m": "it does not support logprobs, images",
                "m:think": "it does not support images",
            },
            id="several features",
        ),
        pytest.param(Requirements(exclude=("m",)), {"m": "excluded by the request"}, id="excluded"),
        pytest.param(
            Requirements(input_tokens=500, max_output_tokens=100),
            {"s": "prompt and answer need 600 tokens, its context has 512"},
            id="the client's limit",
        ),
        pytest.param(
            Requirements(input_tokens=512),
            {"s": "prompt and answer need 513 tokens, its context has 512"},
            id="no room for an answer",
        ),
    ],
)
def test_ineligible_candidates_come_with_the_reason(
    requirements: Requirements, reasons: dict[str, str]
) -> None:
    pool = make_pool()
    mask, found = eligible(pool, requirements)

    assert found == [reasons]
    assert mask.tolist() == [[name not in reasons for name in pool.names]]


def test_the_expected_answer_must_fit_into_the_context() -> None:
    mask, reasons = eligible(make_pool(), Requirements(), [10, 400], [[300, 300, 300], [300, 300, 5000]])

    assert mask.tolist() == [[True, True, True], [False, True, False]]
    assert reasons[1]["s"] == "prompt and answer need 700 tokens, its context has 512"


def test_an_unknown_exclusion_is_the_callers_mistake() -> None:
    with pytest.raises(UsageError, match="no candidate 'x'"):
        eligible(make_pool(), Requirements(exclude=("x",)))
