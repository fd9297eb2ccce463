"""Graders: is this answer right?

A grader is a function ``(answer, reference) -> score in [0, 1]``; `GRADERS` names them. Only ``code`` runs
anything from an answer, in a sandbox, and only where an operator has allowed it.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
import unicodedata
from collections.abc import Callable
from decimal import Decimal, InvalidOperation

from probes.errors import MissingExtraError, UsageError

Grader = Callable[[str, str], float]

_NUMBER = re.compile(
    r"[-−+]?\s?(?:(?:\d{1,3}(?:[,\u00a0\u202f]\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
    r"(?:[eE][-+]?\d+)?(?:\s?/\s?\d+)?"
)
_MARKED = re.compile(
    r"(?:answer|choice|option)(?:\s+is)?\s*[:=]?\s*[*(\\[{ ]*(?:boxed\{)?\(?([A-Z])\b", re.IGNORECASE
)
_THINK = re.compile(r"^.*</think>", re.DOTALL)
_EXCERPT = 40


def visible(answer: str) -> str:
    """The answer without a reasoning model's scratchpad (everything up to ``</think>``)."""
    return _THINK.sub("", answer).strip()


def normalise(text: str) -> str:
    """Case, width, repeated white space and a final full stop do not matter."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.removesuffix(".").rstrip()


def exact(answer: str, reference: str) -> float:
    """1 when the answer is the reference, up to case, white space and a final full stop."""
    return float(normalise(visible(answer)) == normalise(reference))


def contains(answer: str, reference: str) -> float:
    """1 when the reference stands in the answer as whole words."""
    wanted = re.escape(normalise(reference))
    return float(re.search(rf"(?<!\w){wanted}(?!\w)", normalise(visible(answer))) is not None)


def number(answer: str, reference: str) -> float:
    """1 when the last number of the answer equals the reference.

    Thousands separators, currency and percent signs, fractions and trailing zeros do not matter.

    Raises
    ------
    UsageError
        The reference holds no number.
    """
    wanted = _last_number(reference)
    if wanted is None:
        raise UsageError(
            f"The grader 'number' needs a number, not {reference[:_EXCERPT]!r}.", param="reference"
        )
    given = _last_number(visible(answer))
    return float(given is not None and given == wanted)


def _last_number(text: str) -> Decimal | None:
    for match in reversed(list(_NUMBER.finditer(text))):
        token = re.sub(r"[,\s\u00a0\u202f]", "", match.group()).replace("−", "-")
        # In "3-2" and "2024-05" the sign is a dash, not part of the number.
        before = text[: match.start()].rstrip(" ")
        if token[0] in "-+" and before and (before[-1].isalnum() or before[-1] == ")"):
            token = token[1:]
        top, _, bottom = token.partition("/")
        try:
            value = Decimal(top)
            return value / Decimal(bottom) if bottom else value
        except (InvalidOperation, ZeroDivisionError):
            continue
    return None


def choice(answer: str, reference: str) -> float:
    """1 when the answer picks the letter of the reference.

    The letter that follows "answer", "choice" or "option" last counts; without one, an answer that begins
    with a letter and ends there or with punctuation ("B", "(B)", "B. because …").

    Raises
    ------
    UsageError
        The reference is not a single letter.
    """
    wanted = reference.strip().strip("().").upper()
    if len(wanted) != 1 or not wanted.isalpha():
        message = f"The grader 'choice' needs one letter, not {reference[:_EXCERPT]!r}."
        raise UsageError(message, param="reference")
    text = visible(answer)
    marked = _MARKED.findall(text)
    first = re.match(r"[\s*(\[]*([A-Za-z])(?:[\s*)\].:,]|$)", text)
    given = marked[-1] if marked else first.group(1) if first else ""
    return float(given.upper() == wanted)


def math(answer: str, reference: str) -> float:
    """1 when math-verify finds the answer and the reference to be the same mathematical object.

    Raises
    ------
    MissingExtraError
        math-verify is not installed (extra ``eval``).
    """
    try:
        from math_verify import parse, verify
    except ImportError as exc:
        raise MissingExtraError(
            "The grader 'math' needs math-verify.",
            param="grader",
            hint='pip install "foresight-router[eval]"',
        ) from exc
    # The library stops runaway expressions by signals, which only the main thread may set.
    limit = 5 if threading.current_thread() is threading.main_thread() else None
    boxed = reference if "\\boxed" in reference else f"\\boxed{{{reference}}}"
    gold, given = (parse(text, parsing_timeout=limit) for text in (boxed, visible(answer)))
    return float(bool(verify(gold, given, timeout_seconds=limit)))


RUN_CODE = "FORESIGHT_RUN_CODE"
"""Environment variable; 1 allows the grader ``code`` to run what a model wrote."""
_FENCED = re.compile(r"^```[\w+-]*[ \t]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def code(answer: str, reference: str) -> float:
    """1 when the answer's last fenced Python block passes the reference, a program of assertions.

    Runs with the limits of `eval.grading.sandbox`; an answer without a block is taken whole. What ends
    before the last assertion has passed counts as wrong, however it ends.

    Raises
    ------
    UsageError
        Running code is not allowed, or the reference is no Python program.
    """
    if os.environ.get(RUN_CODE) != "1":
        raise UsageError(
            "The grader 'code' runs what a model wrote, which has not been allowed.",
            param="grader",
            hint=f"Where that is acceptable, set {RUN_CODE}=1.",
        )
    try:
        compile(reference, "reference", "exec")
    except (SyntaxError, ValueError) as exc:
        message = f"The grader 'code' needs a Python program as reference ({exc})."
        raise UsageError(message, param="reference") from exc
    from eval.grading.sandbox import run_python

    text = visible(answer)
    blocks = _FENCED.findall(text)
    token = secrets.token_hex(16)
    ran = run_python(f"{blocks[-1] if blocks else text}\n\n{reference}\n\nprint('\\n{token}')\n")
    return float(ran.code == 0 and ran.output.rstrip().endswith(token))


GRADERS: dict[str, Grader] = {
    "exact": exact,
    "number": number,
    "choice": choice,
    "contains": contains,
    "math": math,
    "code": code,
}
"""Every grader by name; a program may add its own."""


def default_grader(reference: str) -> str:
    """``number`` for a reference that is nothing but a number, else ``exact``."""
    return "number" if _NUMBER.fullmatch(reference.strip()) else "exact"


def grade(kind: str | None, answer: str, reference: str) -> float:
    """Score an answer.

    Parameters
    ----------
    kind : str or None
        Key of `GRADERS`; by default `default_grader` decides.
    answer : str
        What the candidate wrote.
    reference : str
        The right answer.

    Returns
    -------
    float
        1 for right, 0 for wrong; a custom grader may give anything between.

    Raises
    ------
    UsageError
        No such grader, or a reference of the wrong kind.
    """
    name = kind or default_grader(reference)
    if name not in GRADERS:
        known = ", ".join(GRADERS)
        raise UsageError(f"There is no grader {name!r}.", param="grader", hint=f"Choose one of: {known}.")
    return GRADERS[name](answer, reference)
