"""Who is taller than whom, and who holds what after some swaps."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from eval.ladder.questions.base import Draft, between
from eval.ladder.questions.words import COLOURS, PEOPLE, ordinal


def order(rng: Random, difficulty: float) -> Draft:
    """Three to six people compared in pairs, told out of order; who stands at a given place?"""
    people = rng.sample(PEOPLE, between(difficulty, 3, 6, rng))
    told = [
        f"{a} is taller than {b}." if rng.random() < 0.6 else f"{b} is shorter than {a}."
        for a, b in pairwise(people)
    ]
    rng.shuffle(told)
    place = rng.randint(1, len(people))
    asked = {1: "the tallest", len(people): "the shortest"}.get(place, f"the {ordinal(place)} tallest")
    return Draft(f"{' '.join(told)} Who is {asked}?", people[place - 1], " ".join(people))


def swaps(rng: Random, difficulty: float) -> Draft:
    """Three to five people swap coloured balls one to seven times; who holds which at the end?"""
    people = rng.sample(PEOPLE, 3 + round(difficulty * 2))
    held = dict(zip(people, rng.sample(COLOURS, len(people)), strict=True))
    told = [f"{p} has {c}." for p, c in held.items()]
    steps = []
    for _ in range(between(difficulty, 1, 7, rng)):
        a, b = rng.sample(people, 2)
        held[a], held[b] = held[b], held[a]
        told.append(f"{a} and {b} swap.")
        steps.append(f"{a} {held[a]} {b} {held[b]}")
    asked = rng.choice(people)
    return Draft(f"{' '.join(told)} What does {asked} have?", held[asked], " ; ".join(steps))
