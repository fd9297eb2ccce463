"""Ladder questions as the ``queries.jsonl`` of an outcome set."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eval.ladder.questions import Question, Split, draw


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
    partial = path.with_name(path.name + ".partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("w", encoding="utf-8") as file:
        for question in questions:
            file.write(json.dumps(query(question)) + "\n")
    os.replace(partial, path)


def ask(n: int, path: Path, *, seed: int = 0, split: Split = "test") -> None:
    """Draw `n` questions of a split into a file."""
    write_queries(draw(n, seed, split), path)
