"""Sums, differences and products; carries and borrows make them hard, not their length alone."""

from __future__ import annotations

from random import Random

from eval.ladder.questions.base import Draft, between, number_of_digits, phrase


def addition(rng: Random, difficulty: float) -> Draft:
    """Two numbers of one to seven digits."""
    digits = between(difficulty, 1, 7, rng)
    a, b = number_of_digits(digits, rng), number_of_digits(max(1, digits - rng.randint(0, 1)), rng)
    prompt = phrase(rng, f"What is {a} plus {b}?", f"Add {a} and {b}.", f"Find the sum of {a} and {b}.")
    return Draft(prompt, str(a + b), " ; ".join(_columns_added(a, b)))


def _columns_added(a: int, b: int) -> list[str]:
    steps, carry = [], 0
    while a or b or carry:
        terms = [str(a % 10), str(b % 10)] + (["1"] if carry else [])
        total = a % 10 + b % 10 + carry
        steps.append(f"{' and '.join(terms)} make {total}")
        a, b, carry = a // 10, b // 10, total // 10
    return steps


def subtraction(rng: Random, difficulty: float) -> Draft:
    """The smaller of two numbers of one to seven digits taken from the larger."""
    digits = between(difficulty, 1, 7, rng)
    a, b = number_of_digits(digits, rng), number_of_digits(max(1, digits - rng.randint(0, 1)), rng)
    a, b = max(a, b), min(a, b)
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
    """One to five digits times one digit; the hardest take a factor of two digits."""
    two_digits = difficulty > 0.75
    if two_digits:
        digits = between((difficulty - 0.75) * 4, 2, 3, rng)
    else:
        digits = between(difficulty / 0.75, 1, 5, rng)
    a, b = number_of_digits(digits, rng), rng.randint(11, 99) if two_digits else rng.randint(2, 9)
    wordings = (f"What is {a} times {b}?", f"Multiply {a} by {b}.", f"Find the product of {a} and {b}.")
    prompt = phrase(rng, *wordings)
    if not two_digits:
        return Draft(prompt, str(a * b), " ; ".join(_columns_multiplied(a, b)))
    tens, ones = a * (b // 10) * 10, a * (b % 10)
    steps = [*_columns_multiplied(a, b // 10), f"tens {tens}"]
    steps += [*_columns_multiplied(a, b % 10), f"ones {ones}"] if b % 10 else ["ones 0"]
    return Draft(prompt, str(a * b), " ; ".join([*steps, *_columns_added(tens, ones)]))


def _columns_multiplied(a: int, digit: int) -> list[str]:
    steps, carry = [], 0
    while a:
        total = a % 10 * digit + carry
        carried = f" plus {carry}" if carry else ""
        steps.append(f"{a % 10} times {digit}{carried} makes {total}")
        a, carry = a // 10, total // 10
    return steps
