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


TAUGHT = 0.9
"""Models are taught up to this difficulty; what lies beyond is longer than anything they have seen."""


def stretch(difficulty: float, low: float, high: float, beyond: float) -> float:
    """What grows with difficulty: from `low` to `high` over all that is taught, then on to `beyond`."""
    if difficulty <= TAUGHT:
        return low + (high - low) * difficulty / TAUGHT
    return high + (beyond - high) * (difficulty - TAUGHT) / (1 - TAUGHT)


def between(difficulty: float, low: int, high: int, beyond: int, rng: Random) -> int:
    """An integer that grows as `stretch` says, jittered by up to one step but never out of its part."""
    size = round(stretch(difficulty, low, high, beyond) + rng.uniform(-0.7, 0.7))
    least, most = sorted((low, high)) if difficulty <= TAUGHT else sorted((high, beyond))
    return min(most, max(least, size))


def number_below(exponent: float, rng: Random) -> int:
    """A uniform number from a tenth of ``10**exponent`` up to it, at least 1."""
    top = max(1, round(10**exponent))
    return rng.randint(max(1, top // 10), top)


def phrase(rng: Random, *forms: str) -> str:
    """One of several wordings of the same question."""
    return forms[rng.randrange(len(forms))]
