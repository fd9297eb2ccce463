"""Ladder questions as the ``queries.jsonl`` of an outcome set."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eval.ladder.questions import Question, Split, draw
from eval.tables import write_json_lines


def query(question: Question) -> dict[str, Any]:
    """One line of ``queries.jsonl``: the family is the dataset, the exact answer the reference."""
    return {
        "query_id": question.id,
        "dataset": question.family,
        "prompt": question.prompt,
        "reference": question.answer,
        "group": question.id,
        "difficulty": question.difficulty,
        "solution": question.solution,
        "grader": "exact",
    }


def write_queries(questions: Iterable[Question], path: Path) -> None:
    """Write the questions, all or none."""
    write_json_lines(path, map(query, questions))


def ask(n: int, path: Path, *, seed: int = 0, split: Split = "test") -> None:
    """Draw `n` questions of a split into a file."""
    write_queries(draw(n, seed, split), path)
