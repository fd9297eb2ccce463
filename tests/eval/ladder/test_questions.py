"""The ladder's questions: right, reproducible, disjoint, and harder as their difficulty says."""

from __future__ import annotations

import re
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.ladder.questions import BEYOND, FAMILIES, Split, draw, level, split_of
from eval.ladder.questions.base import TAUGHT, between, number_below, stretch
from tests.eval.ladder.solvers import SOLVERS

difficulties = st.floats(0, 1)
seeds = st.integers(0, 2**32)


@pytest.mark.parametrize("family", sorted(SOLVERS))
def test_the_answer_follows_from_the_text_alone(family: str) -> None:
    """A solver that sees only the prompt finds the same answer, over 200 draws at every difficulty."""
    for number in range(200):
        draft = FAMILIES[family](Random(number), number / 199)
        assert SOLVERS[family](draft.prompt) == draft.answer, draft.prompt


def test_only_the_two_families_that_may_leave_it_open_have_no_solver() -> None:
    assert set(FAMILIES) - set(SOLVERS) == {"rule", "lookup"}


@given(seeds, difficulties)
def test_a_rule_fits_its_own_examples_and_answer(seed: int, difficulty: float) -> None:
    draft = FAMILIES["rule"](Random(seed), difficulty)
    pairs = [(int(x), int(y)) for x, y in re.findall(r"(\d+) gives (\d+)\.", draft.prompt)]
    asked = re.search(r"What does (\d+) give", draft.prompt)
    assert asked
    points = [*pairs, (int(asked[1]), int(draft.answer))]
    slopes = {(y2 - y1) / (x2 - x1) for x1, y1 in points for x2, y2 in points if x2 != x1}
    assert len(slopes) == 1


@given(seeds, difficulties)
def test_a_shown_lookup_is_answered_by_its_example(seed: int, difficulty: float) -> None:
    draft = FAMILIES["lookup"](Random(seed), difficulty)
    asked = re.search(r"What does (\w+) give", draft.prompt)
    assert asked
    shown = dict(re.findall(r"(\w+) gives (\w+)\.", draft.prompt))
    assert shown.get(asked[1], draft.answer) == draft.answer


@given(seeds, difficulties, st.sampled_from(sorted(FAMILIES)))
def test_every_question_has_an_expert_solution_in_words(seed: int, difficulty: float, family: str) -> None:
    draft = FAMILIES[family](Random(seed), difficulty)
    assert draft.solution
    assert draft.answer
    assert draft.solution.isascii()
    assert draft.prompt.isascii()


def test_the_same_seed_draws_the_same_questions() -> None:
    assert draw(64, seed=3) == draw(64, seed=3)
    assert draw(64, seed=3) != draw(64, seed=4)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000))
def test_no_two_splits_share_a_prompt(seed: int) -> None:
    prompts = {split: {q.prompt for q in draw(300, seed, split)} for split in ("train", "fit", "test")}
    for split, own in prompts.items():
        assert all(split_of(prompt) == split for prompt in own)
    assert not prompts["train"] & prompts["test"]
    assert not prompts["fit"] & prompts["test"]


def test_models_are_taught_up_to_a_difficulty_and_judged_beyond_it_too() -> None:
    taught, judged = ([q.difficulty for q in draw(500, seed=1, split=split)] for split in ("train", "test"))
    assert max(taught) <= TAUGHT
    assert sum(d > TAUGHT for d in judged) / len(judged) == pytest.approx(BEYOND, abs=0.03)


@given(difficulties, difficulties, st.sampled_from(["train", "fit", "test"]))
def test_difficulties_keep_the_order_of_their_shares(one: float, other: float, split: Split) -> None:
    low, high = sorted((one, other))
    assert 0 <= level(low, split) <= level(high, split) <= 1


@given(difficulties, difficulties)
def test_what_grows_with_difficulty_never_falls(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert stretch(low, 2, 9, 18) <= stretch(high, 2, 9, 18)
    assert stretch(0, 2, 9, 18) == 2
    assert stretch(TAUGHT, 2, 9, 18) == pytest.approx(9)
    assert stretch(1, 2, 9, 18) == pytest.approx(18)


@given(seeds, difficulties)
def test_what_is_taught_is_never_as_large_as_what_lies_beyond(seed: int, difficulty: float) -> None:
    size = between(difficulty, 2, 9, 18, Random(seed))
    assert 2 <= size <= 9 if difficulty <= TAUGHT else 9 <= size <= 18


@given(seeds, st.floats(0, 9))
def test_a_number_is_positive_and_below_its_power_of_ten(seed: int, exponent: float) -> None:
    assert 1 <= number_below(exponent, Random(seed)) <= round(10**exponent)


def test_families_take_turns() -> None:
    assert {q.family for q in draw(len(FAMILIES), seed=0)} == set(FAMILIES)


@pytest.mark.parametrize(
    "family", sorted(set(FAMILIES) - {"rule", "lookup", "weekdays", "dates", "clock", "maximum"})
)
def test_harder_questions_take_longer_solutions(family: str) -> None:
    def words(difficulty: float) -> float:
        return sum(len(FAMILIES[family](Random(s), difficulty).solution.split()) for s in range(100)) / 100

    assert words(0.0) < words(0.5) <= words(1.0)
