"""Questions about lists: sort, count, pick, compare; longer lists are harder."""

from __future__ import annotations

from random import Random

from eval.ladder.questions.base import Draft, between, phrase
from eval.ladder.questions.words import THINGS, ordinal


def sorting(rng: Random, difficulty: float) -> Draft:
    """Three to ten numbers below 100, put in order by insertion."""
    numbers = rng.sample(range(1, 100), between(difficulty, 3, 10, rng))
    shown = " ".join(map(str, numbers))
    down = rng.random() < 0.3
    wanted = "largest to smallest" if down else "smallest to largest"
    prompt = f"Sort from {wanted}: {shown}."
    ordered: list[int] = []
    steps = []
    for number in numbers:
        ordered = sorted([*ordered, number], reverse=down)
        steps.append(" ".join(map(str, ordered)))
    return Draft(prompt, steps[-1], " ; ".join(steps[1:]))


def counting(rng: Random, difficulty: float) -> Draft:
    """How often one word stands in a list of four to twenty words."""
    length = between(difficulty, 4, 20, rng)
    kinds = rng.sample(THINGS, 2 + rng.randint(0, 2))
    items = [rng.choice(kinds) for _ in range(length)]
    target = kinds[0]
    running, steps = 0, []
    for item in items:
        running += item == target
        steps.append(f"{item} {running}")
    prompt = phrase(rng, f"How many times does {target} appear:", f"Count the word {target} in this list:")
    return Draft(f"{prompt} {' '.join(items)}?", str(running), " ".join(steps))


def selection(rng: Random, difficulty: float) -> Draft:
    """The word at a place of a list of three to eighteen words, counted from either end."""
    items = [rng.choice(THINGS) for _ in range(between(difficulty, 3, 18, rng))]
    place = rng.randint(1, len(items))
    backwards = rng.random() < 0.4
    walk = items[::-1] if backwards else items
    end = "from the end " if backwards else ""
    prompt = f"Which word is {ordinal(place)} {end}in this list: {' '.join(items)}?"
    steps = " ".join(f"{i} {word}" for i, word in enumerate(walk[:place], 1))
    return Draft(prompt, walk[place - 1], steps)


def maximum(rng: Random, difficulty: float) -> Draft:
    """The largest or smallest of three to ten numbers, close together when difficult."""
    length = between(difficulty, 3, 10, rng)
    base = rng.randint(100, 9000)
    spread = max(length + 5, round(800 * (1.02 - difficulty)))
    numbers = [base + rng.randrange(spread) for _ in range(length)]
    low = rng.random() < 0.5
    best, steps = numbers[0], []
    for number in numbers[1:]:
        best = min(best, number) if low else max(best, number)
        steps.append(str(best))
    prompt = f"Which number is the {'smallest' if low else 'largest'}: {' '.join(map(str, numbers))}?"
    return Draft(prompt, str(best), " ; ".join(steps))
