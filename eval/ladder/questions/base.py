"""What a ladder question is, and the pieces that every family uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import NamedTuple


class Draft(NamedTuple):
    """One drawn question before it gets an identity.

    ``solution`` is the expert's way to the answer, in words; candidates that think learn to write it out.
    """

    prompt: str
    answer: str
    solution: str


Family = Callable[[Random, float], Draft]
"""Draws one question at a difficulty in [0, 1]; 0 is the easiest that the family holds, 1 the hardest."""


@dataclass(frozen=True)
class Question:
    """A question in words with its exact answer.

    ``difficulty`` is the generator's own, in [0, 1], comparable within a family only.
    """

    id: str
    family: str
    difficulty: float
    prompt: str
    answer: str
    solution: str


def between(difficulty: float, low: int, high: int, rng: Random) -> int:
    """An integer that grows with difficulty from `low` to `high`, jittered by up to one step."""
    centre = low + difficulty * (high - low)
    return min(high, max(low, round(centre + rng.uniform(-0.7, 0.7))))


def number_of_digits(digits: int, rng: Random) -> int:
    """A uniform number with exactly `digits` digits (a one-digit number is at least 1)."""
    return rng.randint(10 ** (digits - 1), 10**digits - 1)


def phrase(rng: Random, *forms: str) -> str:
    """One of several wordings of the same question."""
    return forms[rng.randrange(len(forms))]
