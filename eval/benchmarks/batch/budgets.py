"""The ladder over real vLLM: does a job keep to its budget, and does the preview tell its accuracy?"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from eval.benchmarks.batch.jobs import POOL, SEED, accuracy, batch, read_rows, write_lines
from eval.benchmarks.row import Row, Setting
from eval.ladder.questions import Question, draw

LINES, QUICK_LINES = 10_000, 200
TIMES_CHEAPEST = (3.0, 8.0, 20.0)
"""Budgets, in costs of the plan in which every line goes to its cheapest candidate."""
WITHIN = 0.01


def rows(setting: Setting) -> Iterator[Row]:
    """A row for each budget."""
    n = QUICK_LINES if setting.quick else LINES
    folder = setting.work / "batch" / f"budgets-{n}"
    folder.mkdir(parents=True, exist_ok=True)
    questions = draw(n, SEED)
    source = write_lines(questions, folder / "lines.jsonl")
    cheapest = batch("plan", source, "--pool", POOL)["ways"]["cheapest"]["cost_usd"]
    for times in TIMES_CHEAPEST[1:2] if setting.quick else TIMES_CHEAPEST:
        budget = float(f"{times * cheapest:.4g}")
        yield _row(_job(source, folder, budget), questions, budget, setting.quick)


def _job(source: Path, folder: Path, budget_usd: float) -> tuple[dict[str, Any], Path]:
    """Run a job anew; its summary and its output."""
    output = folder / f"answers-{budget_usd}.jsonl"
    shutil.rmtree(output.with_name(output.name + ".job"), ignore_errors=True)
    return batch("run", source, "-o", output, "--pool", POOL, "--budget", budget_usd), output


def _row(
    done: tuple[dict[str, Any], Path], questions: Sequence[Question], budget_usd: float, quick: bool
) -> Row:
    summary, output = done
    answers = read_rows(output)
    right = accuracy(answers, questions)
    low, high = summary["expected"]["accuracy_interval"]
    dearest = max(row["foresight"]["cost_usd"] for row in answers)
    cost = summary["cost_usd"]
    kept = abs(cost / budget_usd - 1) <= WITHIN and cost <= budget_usd + dearest
    best, plan = summary["best"], summary["expected"]
    return Row(
        f"ladder over vLLM: {len(questions):,} lines, budget ${budget_usd:g}",
        "cost within 1% of the budget and at most one answer above; accuracy within the preview's interval",
        f"${cost:.5g} ({100 * (cost / budget_usd - 1):+.2f}%), {summary['answered']:,} answered;"
        f" {right:.2%} right, expected {plan['accuracy']:.2%} [{low:.2%}, {high:.2%}];"
        f" {best['name']} is expected {best['accuracy']:.1%} at ${best['cost_usd']:.3g}",
        None if quick else kept and low <= right <= high,
    )
