"""Who is taller than whom, and who holds what after some swaps."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from eval.ladder.questions.base import Draft, between
from eval.ladder.questions.words import COLOURS, PEOPLE, ordinal


def order(rng: Random, difficulty: float) -> Draft:
    """Two to five people, or up to nine, compared in pairs out of order; who stands at a given place?"""
    people = rng.sample(PEOPLE, between(difficulty, 2, 5, 9, rng))
    pairs = list(pairwise(people))
    rng.shuffle(pairs)
    told = [
        f"{a} is taller than {b}." if rng.random() < 0.6 else f"{b} is shorter than {a}." for a, b in pairs
    ]
    place = rng.randint(1, len(people))
    asked = {1: "the tallest", len(people): "the shortest"}.get(place, f"the {ordinal(place)} tallest")
    solution = " ; ".join(f"{a} {b}" for a, b in pairs) + " ; " + " ".join(people)
    return Draft(f"{' '.join(told)} Who is {asked}?", people[place - 1], solution)


def swaps(rng: Random, difficulty: float) -> Draft:
    """Two to four people, or up to six, swap coloured balls up to five or twelve times; who holds which?"""
    people = rng.sample(PEOPLE, between(difficulty, 2, 4, 6, rng))
    held = dict(zip(people, rng.sample(COLOURS, len(people)), strict=True))
    told = [f"{p} has {c}." for p, c in held.items()]
    steps = [_state(held)]
    for _ in range(between(difficulty, 0, 5, 12, rng)):
        a, b = rng.sample(people, 2)
        held[a], held[b] = held[b], held[a]
        told.append(f"{a} and {b} swap.")
        steps.append(_state(held))
    asked = rng.choice(people)
    return Draft(f"{' '.join(told)} What does {asked} have?", held[asked], " ; ".join(steps))


def _state(held: dict[str, str]) -> str:
    return " ".join(f"{person} {colour}" for person, colour in held.items())
