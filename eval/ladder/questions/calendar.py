"""Days, dates and hours; larger steps are harder."""

from __future__ import annotations

from random import Random

from eval.ladder.questions.base import Draft, stretch
from eval.ladder.questions.words import MONTHS, PEOPLE, WEEKDAYS


def _steps(rng: Random, difficulty: float, high: float, beyond: float) -> int:
    """How far to go: each part of the difficulty multiplies it by the same, with one in three to spare."""
    return max(1, round(10 ** stretch(difficulty, 0.4, high, beyond) * rng.uniform(0.7, 1)))


def dates(rng: Random, difficulty: float) -> Draft:
    """The date, in a year that is no leap year, up to 60 days later, or up to 400."""
    names = list(MONTHS)
    index = rng.randrange(12)
    day = rng.randint(1, MONTHS[names[index]])
    ahead = _steps(rng, difficulty, 1.78, 2.6)
    prompt = f"Today is {names[index]} {day}. What is the date {ahead} days from now?"
    total = day + ahead
    steps = [f"{day} plus {ahead} makes {total}"]
    while total > MONTHS[names[index]]:
        length = MONTHS[names[index]]
        steps.append(f"{names[index]} has {length} , {total} minus {length} makes {total - length}")
        total -= length
        index = (index + 1) % 12
    return Draft(prompt, f"{names[index]} {total}", " ; ".join(steps))


def weekdays(rng: Random, difficulty: float) -> Draft:
    """The weekday up to 100 days before or after a given one, or up to 1,000."""
    start = rng.randrange(7)
    step = _steps(rng, difficulty, 2, 3)
    back = rng.random() < 0.4
    sevens = step - step % 7
    rest = step % 7
    walk = [WEEKDAYS[(start + (-i if back else i)) % 7] for i in range(rest + 1)]
    name, today = rng.choice(PEOPLE), WEEKDAYS[start]
    told = f"{name} left {step} days ago." if back else f"{name} leaves in {step} days."
    prompt = f"Today is {today}. {told} Which day {'was' if back else 'will'} that{'' if back else ' be'}?"
    solution = f"{step} minus {sevens} makes {rest} ; {' '.join(walk)}"
    return Draft(prompt, walk[-1], solution)


def clock(rng: Random, difficulty: float) -> Draft:
    """The time of day, on a clock of twelve hours, up to 240 minutes later, or up to 1,400."""
    hour, minute = rng.randint(1, 12), rng.randrange(0, 60)
    ahead = _steps(rng, difficulty, 2.38, 3.14)
    total = minute + ahead
    hours, left = divmod(total, 60)
    end = (hour - 1 + hours) % 12 + 1
    steps = [f"{minute} plus {ahead} makes {total}"]
    if hours:
        steps += [f"{total} minus {hours * 60} makes {left}", f"{hour} plus {hours} makes {hour + hours}"]
        if hour + hours > 12:
            steps.append(f"{hour + hours} minus {hour + hours - end} makes {end}")
    prompt = f"It is {hour}:{minute:02d}. What time is it {ahead} minutes later?"
    return Draft(prompt, f"{end}:{left:02d}", " ; ".join(steps))
