"""One graded answer of somebody else's log, where it stands, and how to read the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from probes.encoders.conversation import Conversation
from probes.errors import DataError


@dataclass(frozen=True)
class Place:
    """A line (or an entry) of a file."""

    path: Path
    entry: str

    def __str__(self) -> str:
        return f"{self.path}, {self.entry}"

    def fail(self, field_name: str, problem: str, fix: str) -> DataError:
        """An error about one field, to be raised by the caller."""
        return DataError(f"{self}, field '{field_name}': {problem}.", param=field_name, hint=fix)


@dataclass(frozen=True)
class Source:
    """A file to import, and the candidate whose answers it holds where the file does not say.

    Attributes
    ----------
    path : Path
        The file.
    candidate : str or None
        Overrides the name in the file; written ``NAME=PATH`` on the command line.
    """

    path: Path
    candidate: str | None = None


@dataclass(frozen=True)
class Options:
    """How to read a log.

    Attributes
    ----------
    metric : str or None
        Which score counts as ``correct``; None: the format's usual one.
    filter : str or None
        lm-evaluation-harness: which answer extraction counts; None: the first of each file.
    prompt_field : str or None
        lm-evaluation-harness: the field of ``doc`` that holds the question; None: the prompt as it was sent.
    columns : mapping of str to str
        CSV: the file's name of a column, by its name in an outcome set.
    """

    metric: str | None = None
    filter: str | None = None
    prompt_field: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """One graded answer.

    Attributes
    ----------
    query_id : str
        Unique name of the question in the outcome set that is made.
    candidate : str
        Who answered.
    correct : float
        In [0, 1].
    conversation : Conversation
        What was asked.
    place : Place
        Where this stands.
    draw : str
        Tells apart repeated answers of a candidate to a question.
    dataset, group, reference : str or None
        As in an outcome set.
    measures : mapping of str to float
        Any of input_tokens, output_tokens, cost_usd, latency_s, samples.
    version : str or None
        Changes when the question itself changes; two versions of a question are not mixed.
    """

    query_id: str
    candidate: str
    correct: float
    conversation: Conversation
    place: Place
    draw: str = ""
    dataset: str | None = None
    group: str | None = None
    reference: str | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    version: str | None = None


def share(value: Any, place: Place, name: str) -> float:
    """A grade in [0, 1]; truth values count as 1 and 0.

    Raises
    ------
    DataError
        The value is none.
    """
    if isinstance(value, str):
        words = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
        value = words.get(value.strip().lower(), value)
    try:
        grade = float(value)
    except (TypeError, ValueError):
        raise place.fail(name, f"{str(value)[:40]!r} is no grade", "Grades lie in [0, 1].") from None
    if not 0.0 <= grade <= 1.0:
        raise place.fail(name, f"{grade:g} is outside [0, 1]", "Scale it to [0, 1], or name another metric.")
    return grade


def amount(value: Any, place: Place, name: str) -> float | None:
    """A number that is not negative; None where it is missing.

    Raises
    ------
    DataError
        The value is no such number.
    """
    if value is None or (
        isinstance(value, str) and value.strip().lower() in {"", "nan", "null", "none", "na"}
    ):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise place.fail(name, f"{str(value)[:40]!r} is not a number", "Leave it empty if unknown.") from None
    if not 0.0 <= number < float("inf"):
        if number != number:
            return None
        raise place.fail(name, f"{number:g} is not a finite number of at least 0", "Correct the value.")
    return number
