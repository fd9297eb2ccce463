"""Rules that must be read off examples: more examples make a question easier."""

from __future__ import annotations

from random import Random

from eval.ladder.questions.base import Draft, between, stretch
from eval.ladder.questions.words import COLOURS, THINGS

SHOTS = 12
"""The most examples that a question shows."""


def rule(rng: Random, difficulty: float, shots: int | None = None) -> Draft:
    """A hidden rule ``a x + b`` behind twelve to two examples, or one, which leaves it open.

    Easy rules add only, and may ask what an example shows.
    """
    shots = between(difficulty, SHOTS, 2, 1, rng) if shots is None else shots
    a, b = rng.randint(1, round(stretch(difficulty, 1, 6, 6))), rng.randint(0, 12)
    xs = [rng.randint(1, 20) for _ in range(shots)]
    fresh = [x for x in range(1, 21) if x not in xs] or [21]
    asked = rng.choice(xs if rng.random() < 0.5 - difficulty else fresh)
    told = " ".join(f"{x} gives {a * x + b}." for x in xs)
    prompt = f"{told} What does {asked} give?"
    answer = a * asked + b
    near, far = min(xs), max(xs)
    if near == far:
        return Draft(prompt, str(answer), f"{a} times {asked} plus {b} makes {answer}")
    rise = a * (far - near)
    steps = [
        f"{far} minus {near} makes {far - near}",
        f"{a * far + b} minus {a * near + b} makes {rise}",
        f"{rise} over {far - near} makes {a}",
        f"{a * near + b} minus {a * near} makes {b}",
        f"{a} times {asked} makes {a * asked}",
        f"{a * asked} plus {b} makes {answer}",
    ]
    return Draft(prompt, str(answer), " ; ".join(steps))


def lookup(rng: Random, difficulty: float, shots: int | None = None) -> Draft:
    """Each animal has its colour, shown by twelve to four examples, or fewer; maybe not the asked one's."""
    shots = between(difficulty, SHOTS, 4, 1, rng) if shots is None else shots
    animals = rng.sample(THINGS, 4)
    colours = {animal: rng.choice(COLOURS[:4]) for animal in animals}
    shown = [rng.choice(animals) for _ in range(shots)]
    asked = rng.choice(animals)
    told = " ".join(f"{animal} gives {colours[animal]}." for animal in shown)
    colour = colours[asked]
    seen = f"{asked} gives {colour}" if asked in shown else f"{asked} is not shown , guess {colour}"
    return Draft(f"{told} What does {asked} give?", colour, seen)
