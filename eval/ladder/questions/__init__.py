"""The ladder's questions: sixteen families in words, drawn from a seed, each with its answer and solution."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from random import Random
from typing import Literal

from eval.ladder.questions import arithmetic, calendar, lists, logic, rules, stories
from eval.ladder.questions.base import TAUGHT, Draft, Family, Question

__all__ = ["FAMILIES", "Draft", "Family", "Question", "draw", "stream"]

Split = Literal["train", "fit", "test"]
"""``train`` teaches the models, ``fit`` the router, ``test`` judges both."""

FAMILIES: dict[str, Family] = {
    "addition": arithmetic.addition,
    "subtraction": arithmetic.subtraction,
    "multiplication": arithmetic.multiplication,
    "sorting": lists.sorting,
    "counting": lists.counting,
    "selection": lists.selection,
    "maximum": lists.maximum,
    "story": stories.story,
    "variables": stories.variables,
    "dates": calendar.dates,
    "weekdays": calendar.weekdays,
    "clock": calendar.clock,
    "order": logic.order,
    "swaps": logic.swaps,
    "rule": rules.rule,
    "lookup": rules.lookup,
}
"""Every family by name."""


BEYOND = 1 / 12
"""The share of the questions of `fit` and `test` that are harder than anything a model was taught."""


def split_of(prompt: str) -> Split:
    """The split that owns a prompt; decided by its text alone, so no two splits can share a question.

    One prompt in ten is kept from the models; of those, six in ten fit the router and four judge it.
    """
    digest = hashlib.sha256(prompt.encode()).digest()
    if digest[0] * 256 + digest[1] >= 65536 // 10:
        return "train"
    return "fit" if digest[2] < 154 else "test"


def level(share: float, split: Split) -> float:
    """The difficulty at a share of all draws in [0, 1].

    What is taught is spread evenly up to `TAUGHT`; of the questions that judge, one in twelve lies beyond it.
    """
    if split == "train":
        return share * TAUGHT
    beyond = 1 - BEYOND
    return share / beyond * TAUGHT if share <= beyond else TAUGHT + (share - beyond) / BEYOND * (1 - TAUGHT)


def stream(seed: int, split: Split, families: Sequence[str] | None = None) -> Iterator[Question]:
    """Questions without end, families in turn, difficulties spread as `level` says.

    Parameters
    ----------
    seed : int
        Same seed, same questions.
    split : {'train', 'fit', 'test'}
        Only prompts of this split are drawn.
    families : sequence of str, optional
        Names from `FAMILIES`; all by default.
    """
    rng = Random(f"{split}-{seed}")
    names = list(FAMILIES) if families is None else list(families)
    number = 0
    while True:
        name = names[number % len(names)]
        difficulty = level(rng.random(), split)
        draft = FAMILIES[name](rng, difficulty)
        if split_of(draft.prompt) == split:
            yield Question(f"{split}-{seed}-{number}", name, round(difficulty, 4), *draft)
            number += 1


def draw(n: int, seed: int, split: Split = "test", families: Sequence[str] | None = None) -> list[Question]:
    """The first `n` different questions of a stream.

    Returns
    -------
    list of Question
        Prompts are unique within the list.
    """
    seen: set[str] = set()
    drawn: list[Question] = []
    for question in stream(seed, split, families):
        if question.prompt not in seen:
            seen.add(question.prompt)
            drawn.append(question)
        if len(drawn) == n:
            break
    return drawn
