"""Sums, differences and products; carries and borrows make them hard, not their length alone."""

from __future__ import annotations

from random import Random

from eval.ladder.questions.base import Draft, number_below, phrase, stretch


def addition(rng: Random, difficulty: float) -> Draft:
    """Two numbers of one to five digits, up to nine beyond what is taught."""
    a, b = _pair(rng, difficulty)
    prompt = phrase(rng, f"What is {a} plus {b}?", f"Add {a} and {b}.", f"Find the sum of {a} and {b}.")
    return Draft(prompt, str(a + b), " ; ".join(_columns_added(a, b)))


def _pair(rng: Random, difficulty: float) -> tuple[int, int]:
    exponent = stretch(difficulty, 1.2, 5, 9)
    return number_below(exponent, rng), number_below(exponent - rng.random(), rng)


def _columns_added(a: int, b: int) -> list[str]:
    steps, carry = [], 0
    while a or b or carry:
        terms = [str(a % 10), str(b % 10)] + (["1"] if carry else [])
        total = a % 10 + b % 10 + carry
        steps.append(f"{' and '.join(terms)} make {total}")
        a, b, carry = a // 10, b // 10, total // 10
    return steps


def subtraction(rng: Random, difficulty: float) -> Draft:
    """The smaller of two such numbers taken from the larger."""
    b, a = sorted(_pair(rng, difficulty))
    prompt = phrase(rng, f"What is {a} minus {b}?", f"Subtract {b} from {a}.", f"Take {b} away from {a}.")
    return Draft(prompt, str(a - b), " ; ".join(_columns_subtracted(a, b)))


def _columns_subtracted(a: int, b: int) -> list[str]:
    steps, borrow = [], 0
    while a or b:
        top, bottom = a % 10, b % 10
        taken = f"{top} minus {bottom}" + (" minus 1" if borrow else "")
        left = top - bottom - borrow
        steps.append(f"{taken} borrow makes {left + 10}" if left < 0 else f"{taken} makes {left}")
        a, b, borrow = a // 10, b // 10, int(left < 0)
    return steps


def multiplication(rng: Random, difficulty: float) -> Draft:
    """One to five digits, up to eight beyond what is taught, times one digit."""
    a, b = number_below(stretch(difficulty, 1.3, 4.6, 8), rng), rng.randint(2, 9)
    prompt = phrase(
        rng, f"What is {a} times {b}?", f"Multiply {a} by {b}.", f"Find the product of {a} and {b}."
    )
    return Draft(prompt, str(a * b), " ; ".join(_columns_multiplied(a, b)))


def _columns_multiplied(a: int, digit: int) -> list[str]:
    steps, carry = [], 0
    while a:
        total = a % 10 * digit + carry
        carried = f" plus {carry}" if carry else ""
        steps.append(f"{a % 10} times {digit}{carried} makes {total}")
        a, carry = a // 10, total // 10
    return steps
