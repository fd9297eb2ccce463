"""Drills: exercises that only training sees. They teach looking things up in the prompt, densely.

A question's answer asks for one fact of the prompt; a drill's answer asks for all of them, so that copying
and looking up are learnt from many targets a sequence instead of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from eval.ladder.questions.base import Draft, Question
from eval.ladder.questions.words import COLOURS, FRUITS, MONTHS, PEOPLE, THINGS, WEEKDAYS

_WORDS = (*PEOPLE, *THINGS, *COLOURS, *FRUITS, *WEEKDAYS, *MONTHS)


def repeat(rng: Random) -> Draft:
    """Say a list again, forwards or backwards."""
    items = [_item(rng) for _ in range(rng.randint(3, 24))]
    if rng.random() < 0.5:
        return Draft(f"Repeat: {' '.join(items)}.", " ".join(items), "")
    return Draft(f"Reverse: {' '.join(items)}.", " ".join(items[::-1]), "")


def recall(rng: Random) -> Draft:
    """Say what each of several things gives, in another order."""
    keys = rng.sample(_WORDS, rng.randint(3, 10))
    values = {key: _item(rng) for key in keys}
    told = " ".join(f"{key} gives {value}." for key, value in values.items())
    asked = rng.sample(keys, len(keys))
    answer = " ".join(f"{key} gives {values[key]}." for key in asked)
    return Draft(f"{told} Tell {' '.join(asked)}.", answer, "")


def number_off(rng: Random) -> Draft:
    """Number the words of a list, from either end."""
    items = rng.sample(_WORDS, rng.randint(3, 9))
    walk, end = (items, "") if rng.random() < 0.5 else (items[::-1], " from the end")
    answer = " ".join(f"{i} {word}" for i, word in enumerate(walk, 1))
    return Draft(f"Number the words{end}: {' '.join(items)}.", answer, "")


def drills(seed: int) -> Iterator[Question]:
    """Drills without end."""
    rng = Random(f"drills-{seed}")
    number = 0
    while True:
        kind = rng.choice((repeat, recall, number_off))
        yield Question(f"drill-{seed}-{number}", kind.__name__, 0.0, *kind(rng))
        number += 1


def _item(rng: Random) -> str:
    return str(rng.randrange(1000)) if rng.random() < 0.3 else rng.choice(_WORDS)
