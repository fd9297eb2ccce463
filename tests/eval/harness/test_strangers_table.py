"""A stranger's CSV on the command line: what is wrong is refused or reported, never a silent number."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from router.cli.app import app

Row = dict[str, Any]


def rows(n: int = 120) -> list[Row]:
    """A small and a large model; every third question is too hard for the small one."""
    rng = np.random.default_rng(0)
    return [
        {
            "question": f"{'Prove' if i % 3 == 0 else 'Add'} number {i}",
            "model": model,
            "score": int(rng.random() < chance),
            "cost": cost,
        }
        for i in range(n)
        for model, chance, cost in (("small", 0.3 if i % 3 == 0 else 0.95, 0.001), ("large", 0.96, 0.01))
    ]


def evaluate(folder: Path, table: list[Row], *words: str) -> Result:
    path = folder / "answers.csv"
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    report = ["--report", str(folder / "report.html"), "--json", str(folder / "figures.json")]
    few = ["--routers", "tfidf,length", "--seeds", "2"]
    return CliRunner().invoke(app, ["evaluate", str(path), *few, *report, *words])


def without(column: str) -> Callable[[list[Row]], list[Row]]:
    return lambda table: [{name: value for name, value in row.items() if name != column} for row in table]


def change(place: int, **fields: Any) -> Callable[[list[Row]], list[Row]]:
    return lambda table: [{**row, **fields} if i == place else row for i, row in enumerate(table)]


def costs(value: Any, who: str = "") -> Callable[[list[Row]], list[Row]]:
    return lambda table: [{**row, "cost": value} if row["model"] != who else row for row in table]


REPORTED = [
    pytest.param(without("cost"), "accuracy only", False, id="no-cost-column"),
    pytest.param(costs(0), "Every cost is zero", False, id="costs-of-zero"),
    pytest.param(costs("", who="small"), "no costs for every candidate", False, id="one-model-without-costs"),
    pytest.param(change(4, cost=""), "1 missing costs are filled", True, id="one-cost-missing"),
    pytest.param(costs(0.5), "costs the same", True, id="equal-prices"),
    pytest.param(lambda t: t[:60], "too wide to be of use", True, id="thirty-questions"),
    pytest.param(
        lambda t: [t[0], *t[2:]], "1 of 120 queries lack an outcome", True, id="a-question-half-answered"
    ),
    pytest.param(
        lambda t: [*t, {**t[0], "model": "seldom"}],
        "answered too few queries: seldom",
        True,
        id="partial-coverage",
    ),
]


@pytest.mark.parametrize(("spoil", "note", "priced"), REPORTED)
def test_what_can_be_lived_with_is_reported(
    tmp_path: Path, spoil: Callable[[list[Row]], list[Row]], note: str, priced: bool
) -> None:
    done = evaluate(tmp_path, spoil(rows()))

    assert done.exit_code == 0, done.output
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert any(note in told for told in figures["notes"]), figures["notes"]
    assert note in (tmp_path / "report.html").read_text()
    ratios = [router["cost_ratio"] for router in figures["routers"].values()]
    assert all((ratio is not None) is priced for ratio in ratios)


REFUSED = [
    pytest.param(change(3, score=7), "score", id="a-grade-of-seven"),
    pytest.param(change(3, score=-0.1), "score", id="a-negative-grade"),
    pytest.param(change(3, score="maybe"), "score", id="a-grade-in-words"),
    pytest.param(change(3, score=""), "score", id="no-grade"),
    pytest.param(change(3, score="nan"), "score", id="a-grade-that-is-none"),
    pytest.param(change(3, cost=-1), "cost", id="a-negative-cost"),
    pytest.param(change(3, question=""), "question", id="no-prompt"),
    pytest.param(lambda t: [*t, t[0]], "has answered", id="the-same-answer-twice"),
    pytest.param(without("model"), "model", id="no-model-column"),
    pytest.param(
        lambda t: [row for row in t if row["model"] == "small"], "too few to compare", id="one-model"
    ),
    pytest.param(lambda t: t[:8], "too few to compare", id="four-questions"),
]


@pytest.mark.parametrize(("spoil", "fault"), REFUSED)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    tmp_path: Path, spoil: Callable[[list[Row]], list[Row]], fault: str
) -> None:
    done = evaluate(tmp_path, spoil(rows()))

    assert done.exit_code == 2
    assert fault in " ".join(str(done.exception or done.output).split()) + done.output
    assert not isinstance(done.exception, SystemExit) or done.exception.code == 2
    assert not (tmp_path / "report.html").exists()
    assert not (tmp_path / "figures.json").exists()


def test_a_floor_that_nothing_reaches_is_said(tmp_path: Path) -> None:
    # Both are right on half of the questions each, and the words do not tell which: no setting is as good as
    # the better one on every calibration split.
    rng = np.random.default_rng(5)
    table = [
        {**row, "score": int(rng.random() < (0.9 if row["model"] == "large" else 0.1))} for row in rows()
    ]
    done = evaluate(tmp_path, table, "--tolerance", "0")

    assert done.exit_code == 0, done.output
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["default"] == "best-single"
    assert "No router is shown to save money safely" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("option", ["--report", "--json", "--picture"])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path, option: str) -> None:
    (tmp_path / "a.csv").write_text("question,model,score\n")
    done = CliRunner().invoke(
        app, ["evaluate", str(tmp_path / "a.csv"), option, str(tmp_path / "no" / "x.png")]
    )

    assert done.exit_code == 2
    assert "cannot be written" in " ".join(done.output.split())
