"""Jobs over the ladder, through the command that a user runs, with real vLLM behind it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from eval.benchmarks.gateway.rig.processes import foresight, free_port, running
from eval.grading.graders import exact
from eval.ladder.questions import Question
from eval.tables import write_json_lines
from probes.errors import BackendError

LADDER = Path(__file__).parents[2] / "ladder"
POOL = LADDER / "pool.yaml"
READY_S = 300.0
SEED = 77
"""Of the questions; no fit and no choice has seen them."""


def write_lines(questions: Sequence[Question], path: Path) -> Path:
    """Questions as OpenAI batch lines, named by their number."""
    rows = (
        {
            "custom_id": f"q{i:06}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "auto", "messages": [{"role": "user", "content": question.prompt}]},
        }
        for i, question in enumerate(questions)
    )
    write_json_lines(path, rows)
    return path


def batch(*words: object) -> dict[str, Any]:
    """``foresight batch`` with these words; what it prints as JSON.

    Raises
    ------
    BackendError
        It failed; the end of what it said.
    """
    done = subprocess.run(foresight("batch", *words, "--json"), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BackendError(f"foresight batch {words[0]} failed: {done.stderr[-800:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of an output."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def texts(rows: Sequence[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """Candidate and answer of each line, by its name."""
    return {
        row["custom_id"]: (
            row["foresight"]["candidate"],
            row["response"]["body"]["choices"][0]["message"]["content"],
        )
        for row in rows
    }


def accuracy(rows: Sequence[dict[str, Any]], questions: Sequence[Question]) -> float:
    """Share of right answers; a line without one is wrong."""
    answers = texts(rows)
    right = sum(exact(answers.get(f"q{i:06}", ("", ""))[1], q.answer) for i, q in enumerate(questions))
    return right / len(questions)


@contextmanager
def standing_pool(folder: Path) -> Iterator[tuple[Path, Path]]:
    """The ladder behind servers that outlive a job: a pool file that names them, and the router's folder."""
    port = free_port()
    served = folder / "served.yaml"
    settings = yaml.safe_load(POOL.read_text(encoding="utf-8"))
    served.write_text(yaml.safe_dump({**settings, "serve": {"ledger": None}}), encoding="utf-8")
    words = ("serve", served, "--router", LADDER / "router", "--scout-mode", "none", "--port", port)
    everywhere = os.sched_getaffinity(0)
    log = folder / "serve.log"
    with running(
        foresight(*words, "--logs", folder), port, log=log, cores=everywhere, ready="/ready", ready_s=READY_S
    ) as server:
        settings["backends"] = {
            name: {"kind": "openai", "url": f"{server.url}/v1"} for name in settings["backends"]
        }
        for candidate in settings["candidates"]:
            candidate["model"] = candidate["name"]
        path = folder / "pool.yaml"
        path.write_text(yaml.safe_dump(settings), encoding="utf-8")
        yield path, LADDER / "router"
