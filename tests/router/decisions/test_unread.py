"""The short way to a decision without a reading says what the long one says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.errors import UsageError
from router.decisions.deciding import Scores, decide
from router.decisions.decision import Decision
from router.decisions.eligibility import Requirements
from router.decisions.unread import Unread
from router.decisions.wishes import Wishes
from router.fitted import Fitted
from router.policies import CheapestLikely, Fixed
from tests.router.pools import make_pool

POOL = make_pool()
WHY = "the scout is switched off"
shares = st.sampled_from([0.0, 0.5, 0.75, 1.0]) | st.floats(0, 1)
means = st.lists(shares, min_size=3, max_size=3)
sizes = st.lists(st.floats(0, 600), min_size=3, max_size=3)
needs = st.builds(
    Requirements,
    max_output_tokens=st.none() | st.integers(0, 600),
    n=st.integers(1, 2),
    tools=st.booleans(),
    exclude=st.sampled_from([(), ("s",), ("m", "m:think")]),
)


def fitted(success: list[float], lengths: list[float]) -> Fitted:
    """The pool's candidates with these means."""
    by_name = [dict(zip(POOL.names, values, strict=True)) for values in (success, lengths)]
    return Fitted(POOL.names, by_name[0], by_name[1], "m")


def the_long_way(known: Fitted, tokens: float, safe: str, wanted: Requirements) -> Decision | None:
    """What `decide` makes of it; None if nobody can answer."""
    success = np.array([[known.success[name] for name in POOL.names]])
    lengths = np.array([[known.output_tokens[name] for name in POOL.names]])
    scores = Scores(success, lengths, np.array([tokens]), unread=WHY)
    try:
        return decide(POOL, scores, CheapestLikely(0.7), safe, Wishes(), wanted)[0]
    except UsageError:
        return None


@given(means, sizes, st.floats(0, 600), st.sampled_from(POOL.names), needs)
def test_both_ways_agree_wherever_the_short_one_leads(
    success: list[float], lengths: list[float], tokens: float, safe: str, wanted: Requirements
) -> None:
    known = fitted(success, lengths)
    long = the_long_way(known, tokens, safe, wanted)
    short = Unread(POOL, known).decide(tokens, WHY, safe, CheapestLikely(0.7), Wishes(), wanted)

    if short is None:
        assert long is None or long.ineligible or wanted.n > 1 or wanted.tools or wanted.exclude
    else:
        assert long is not None
        assert replace(short, id="") == replace(long, id="")


@pytest.mark.parametrize("wishes", [Wishes(max_cost_usd=1.0), Wishes(min_success=0.1)])
def test_wishes_are_left_to_the_long_way(wishes: Wishes) -> None:
    known = fitted([0.5] * 3, [10.0] * 3)

    assert Unread(POOL, known).decide(10.0, WHY, "s", CheapestLikely(0.7), wishes, Requirements()) is None


def test_a_policy_that_reads_nothing_is_not_replaced_by_the_safe_candidate() -> None:
    known = fitted([0.5] * 3, [10.0] * 3)

    assert Unread(POOL, known).decide(10.0, WHY, "s", Fixed("m"), Wishes(), Requirements()) is None
