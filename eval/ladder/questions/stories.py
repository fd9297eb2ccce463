"""Several steps told in words: what somebody has, and what follows from what."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from eval.ladder.questions.base import Draft, between, stretch
from eval.ladder.questions.words import FRUITS, PEOPLE


def story(rng: Random, difficulty: float) -> Draft:
    """One to six things happen to somebody's apples, or up to twelve; the harder mention other things."""
    steps = between(difficulty, 1, 6, 12, rng)
    most = round(stretch(difficulty, 9, 50, 50))
    name, other = rng.sample(PEOPLE, 2)
    thing, distraction = rng.sample(FRUITS, 2)
    amount = rng.randint(2, most)
    told, worked = [f"{name} has {amount} {thing}."], []
    for _ in range(steps):
        sentence, step, amount = _event(rng, name, other, amount, most)
        told.append(sentence)
        worked.append(step)
        if rng.random() < 0.3 * difficulty:
            told.append(f"{other} has {rng.randint(2, most)} {distraction}.")
    told.append(f"How many {thing} does {name} have now?")
    return Draft(" ".join(told), str(amount), " ; ".join(worked))


def _event(rng: Random, name: str, other: str, amount: int, most: int) -> tuple[str, str, int]:
    kind = rng.random()
    if kind < 0.4 or amount < 4:
        gain = rng.randint(2, most)
        verb = rng.choice(("buys", "finds", "gets"))
        return f"{name} {verb} {gain} more.", f"{amount} plus {gain} makes {amount + gain}", amount + gain
    if kind < 0.85 or amount > 150:
        loss = rng.randint(1, min(amount - 1, most))
        told = rng.choice((f"{name} gives {loss} to {other}", f"{name} loses {loss}", f"{name} sells {loss}"))
        return f"{told}.", f"{amount} minus {loss} makes {amount - loss}", amount - loss
    factor = rng.choice((2, 2, 3))
    word = "doubles" if factor == 2 else "triples"
    return f"The number {word}.", f"{amount} times {factor} makes {amount * factor}", amount * factor


def variables(rng: Random, difficulty: float) -> Draft:
    """One to seven letters, or up to twelve, each defined from the last; the harder ones out of order."""
    count = between(difficulty, 1, 7, 12, rng)
    letters = rng.sample("abcdefghkmnpqrstuvwxyz", count)
    values = [rng.randint(1, 20)]
    told, worked = [f"{letters[0]} is {values[0]}."], [f"{letters[0]} is {values[0]}"]
    for before, letter in pairwise(letters):
        value = values[-1]
        if rng.random() < 0.55 or value < 3:
            change = rng.randint(1, 20)
            told.append(f"{letter} is {before} plus {change}.")
            worked.append(f"{letter} is {value} plus {change} makes {value + change}")
            values.append(value + change)
        else:
            change = rng.randint(1, value - 1)
            told.append(f"{letter} is {before} minus {change}.")
            worked.append(f"{letter} is {value} minus {change} makes {value - change}")
            values.append(value - change)
    if rng.random() < difficulty:
        rng.shuffle(told)
    told.append(f"What is {letters[-1]}?")
    return Draft(" ".join(told), str(values[-1]), " ; ".join(worked))
