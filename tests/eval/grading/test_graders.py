"""Graders: what counts as right."""

from __future__ import annotations

import pytest

from eval.grading.graders import GRADERS, default_grader, grade
from probes.errors import UsageError


@pytest.mark.parametrize(
    ("kind", "answer", "reference", "score"),
    [
        ("exact", "Yes. ", "yes", 1),
        ("exact", "yes, it is", "yes", 0),
        ("exact", "<think>no or yes</think>\nyes", "yes", 1),
        ("exact", "ﬁve  apples", "five apples", 1),
        ("number", "so it costs 1,234.50 dollars", "1234.5", 1),
        ("number", "The answer is 18.", "18", 1),
        ("number", "$70,000", "70000", 1),
        ("number", "first 3, then 4", "3", 0),
        ("number", "1, 2, 3", "3", 1),
        ("number", "1,2,3", "3", 1),
        ("number", "x = -4", "-4", 1),
        ("number", "x = −4", "-4", 1),
        ("number", "5-3", "3", 1),
        ("number", "5 - 3", "3", 1),
        ("number", "one half: 1/2", ".5", 1),
        ("number", "1/0", "0", 0),
        ("number", "no idea", "0", 0),
        ("number", "0.1", "0.10", 1),
        ("number", "1e3", "1000", 1),
        ("number", "<think>7</think> 8", "7", 0),
        ("choice", "B", "B", 1),
        ("choice", "(b).", "B", 1),
        ("choice", "**D**", "D", 1),
        ("choice", "The answer is (C).", "c", 1),
        ("choice", "A good question. The answer: C", "C", 1),
        ("choice", r"so the answer is \boxed{A}", "A", 1),
        ("choice", "Answer: A. No, the answer is B", "B", 1),
        ("choice", "Because of B", "B", 0),
        ("choice", "", "B", 0),
        ("contains", "it is forty-two, I think", "forty-two", 1),
        ("contains", "it is 142", "42", 0),
        (None, "it is 42", "42", 1),
        (None, "it is Paris", "Paris", 0),
    ],
)
def test_an_answer_is_graded(kind: str | None, answer: str, reference: str, score: float) -> None:
    assert grade(kind, answer, reference) == score


def test_math_compares_objects_not_strings() -> None:
    pytest.importorskip("math_verify")
    assert grade("math", r"Hence $\frac{1}{2}$.", "0.5") == 1
    assert grade("math", r"\boxed{2\sqrt{3}}", r"\sqrt{12}") == 1
    assert grade("math", r"\boxed{x+1}", "x-1") == 0
    assert grade("math", "I do not know", "7") == 0


def test_the_default_grader_looks_at_the_reference() -> None:
    assert default_grader(" -1,200.5 ") == "number"
    assert default_grader("3 apples") == "exact"
    assert default_grader("1, 2") == "exact"


def test_unknown_graders_and_unfit_references_are_refused() -> None:
    with pytest.raises(UsageError, match="no grader 'vibes'") as caught:
        grade("vibes", "a", "b")
    assert all(name in str(caught.value.hint) for name in GRADERS)
    with pytest.raises(UsageError, match="needs a number"):
        grade("number", "1", "one")
    with pytest.raises(UsageError, match="needs one letter"):
        grade("choice", "A", "Paris")
