"""Questions about lists: sort, count, pick, compare; longer lists are harder."""

from __future__ import annotations

from random import Random

from eval.ladder.questions.base import Draft, between, phrase
from eval.ladder.questions.words import FRUITS, THINGS, ordinal


def sorting(rng: Random, difficulty: float) -> Draft:
    """Two to eight numbers below 100, or up to fourteen, put in order one by one."""
    numbers = rng.sample(range(1, 100), between(difficulty, 2, 8, 14, rng))
    shown = " ".join(map(str, numbers))
    down = rng.random() < 0.3
    wanted = "largest to smallest" if down else "smallest to largest"
    ordered = sorted(numbers, reverse=down)
    first, *rest = map(str, ordered)
    return Draft(
        f"Sort from {wanted}: {shown}.",
        " ".join(map(str, ordered)),
        f"first {first} " + " ".join(f"then {number}" for number in rest),
    )


def counting(rng: Random, difficulty: float) -> Draft:
    """How many of one to nine numbers below 100, or up to sixteen, are larger or smaller than a given one."""
    numbers = rng.sample(range(1, 100), between(difficulty, 1, 9, 16, rng))
    limit = rng.choice((20, 30, 40, 50, 60, 70, 80))
    larger = rng.random() < 0.5
    running, steps = 0, []
    for number in numbers:
        counts = number > limit if larger else number < limit
        running += counts
        steps.append(f"{number} makes {running}" if counts else f"{number} no")
    asked = "larger" if larger else "smaller"
    shown = " ".join(map(str, numbers))
    prompt = phrase(rng, f"How many are {asked} than {limit}:", f"Count the numbers {asked} than {limit}:")
    return Draft(f"{prompt} {shown}?", str(running), " ; ".join(steps))


def selection(rng: Random, difficulty: float) -> Draft:
    """The word at a place of a list of two to nine different words, or up to eighteen, from either end."""
    items = rng.sample((*THINGS, *FRUITS), between(difficulty, 2, 9, 18, rng))
    place = rng.randint(1, len(items))
    backwards = rng.random() < 0.4
    walk = items[::-1] if backwards else items
    end = "from the end " if backwards else ""
    prompt = f"Which word is {ordinal(place)} {end}in this list: {' '.join(items)}?"
    steps = " ".join(f"{i} {word}" for i, word in enumerate(walk[:place], 1))
    return Draft(prompt, walk[place - 1], steps)


def maximum(rng: Random, difficulty: float) -> Draft:
    """The largest or smallest of two to six numbers, or up to fourteen, close together when difficult."""
    length = between(difficulty, 2, 6, 14, rng)
    spread = max(length + 15, round(800 * (1 - difficulty)))
    base = rng.randint(100, 999 - spread)
    numbers = [base + step for step in rng.sample(range(spread), length)]
    low = rng.random() < 0.5
    best, steps = numbers[0], []
    for number in numbers[1:]:
        best = min(best, number) if low else max(best, number)
        steps.append(f"{number} keep {best}")
    prompt = f"Which number is the {'smallest' if low else 'largest'}: {' '.join(map(str, numbers))}?"
    return Draft(prompt, str(best), f"{numbers[0]} ; " + " ; ".join(steps))
