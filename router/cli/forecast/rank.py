"""``foresight forecast rank``: an order of models, and new ones' levels, from experts' solutions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from probes.errors import DataError, UsageError
from router.cli.forecast.options import Device, Json, named
from router.cli.output import out, progress, say, write_json

if TYPE_CHECKING:
    from probes.forecast.rank.solutions import Scored, Solution

EXAMPLE = "Example: foresight forecast rank new/ old-a/ old-b/ --solutions solved.jsonl --results acc.csv"


def rank(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODELS", help="NAME=FOLDER, folders, or NAME=URL of a vLLM server."),
    ],
    solutions: Annotated[
        Path, typer.Option(help="JSONL: prompt or messages, solution, and optionally task, template_kwargs.")
    ],
    results: Annotated[
        Path | None, typer.Option(help="CSV with model, task, accuracy of those that are known.")
    ] = None,
    method: Annotated[str, typer.Option(help="linear (RankSVM), sparse or single.")] = "linear",
    by_bytes: Annotated[
        bool, typer.Option("--bytes", help="Count bytes, not tokens: for tokenisers that differ.")
    ] = False,
    last: Annotated[int, typer.Option(min=1, help="Tokens of a solution that count, from its end.")] = 1000,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Order models, and forecast the levels of new ones, from what they think of experts' solutions."""
    chosen = [_place(model, by_bytes) for model in models]
    read = read_solutions(solutions)
    scored: dict[str, Scored] = {}
    for name, place in chosen:
        if name in scored:
            raise UsageError(
                f"Two models are called {name!r}.", param="models", hint="Name them: NAME=FOLDER."
            )
        with progress(f"Reading {name}") as told:
            scored[name] = _scored(place, device, read, last, by_bytes, told)
    rows = _ranking(scored, _results(results), method)
    if as_json:
        write_json({"models": rows, "proxies": {name: _means(one) for name, one in scored.items()}})
        return
    table = Table("model", "score", "known accuracy", "forecast", "95% interval", title="Best first")
    for row in rows:
        interval = "" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
        shown = [f"{row[key]:.3f}" if row[key] is not None else "" for key in ("score", "known", "level")]
        table.add_row(row["model"], *shown, interval)
    out().print(table)
    if results is None:
        say("Without --results the score is minus the solutions' mean negative log-likelihood.")


def _place(model: str, by_bytes: bool) -> tuple[str, str | Path]:
    """A model's name, and its folder or the address of the server that has it."""
    name, sign, place = model.partition("=")
    if not (sign and place.startswith(("http://", "https://"))):
        return named(model)
    if by_bytes:
        raise UsageError(
            f"{name}: a server does not tell how many bytes its tokens hold.",
            param="bytes",
            hint="Give the model's folder, or leave --bytes out.",
        )
    return name, place


def _scored(
    place: str | Path,
    device: str,
    read: list[Solution],
    last: int,
    by_bytes: bool,
    told: Callable[[int, int], None],
) -> Scored:
    if isinstance(place, str):
        from probes.forecast.rank.served import ServedTeacher

        return ServedTeacher(place).score(read, last_tokens=last, progress=told)
    from probes.forecast.rank.teacher import Teacher

    teacher = Teacher(place, device=device)
    return teacher.score(read, last_tokens=last, by_bytes=by_bytes, progress=told)


def read_solutions(path: Path) -> list[Solution]:
    """Expert solutions from JSON lines; `DataError` names the line and the field."""
    from eval.tables import read_json_lines
    from probes.encoders.conversation import as_conversation
    from probes.forecast.rank.solutions import Solution

    found = []
    for line, raw in read_json_lines(path):
        asked = raw.get("messages", raw.get("prompt"))
        text = raw.get("solution")
        if asked is None or not isinstance(text, str) or not text.strip():
            raise DataError(
                f"{path}, line {line}: needs 'prompt' or 'messages' and a 'solution' that is not empty.",
                param="solutions",
                hint="Leave out questions that no expert has solved.",
            )
        kwargs = raw.get("template_kwargs") or {}
        found.append(Solution(as_conversation(asked), text, str(raw.get("task", "")), kwargs))
    if not found:
        raise DataError(f"{path} holds no solution.", param="solutions")
    return found


def _results(path: Path | None) -> dict[tuple[str, str], float]:
    if path is None:
        return {}
    from eval.tables import read_csv

    table = read_csv(path)
    names, rates = table.text("model"), table.numbers("accuracy", high=1.0, required=True)
    tasks = table.text("task") if "task" in table.columns else [""] * len(names)
    return dict(zip(zip(names, tasks, strict=True), rates.tolist(), strict=True))


def _means(scored: Scored) -> dict[str, dict[str, float | None]]:
    from probes.forecast.rank.proxies import PROXIES

    return {
        task: {name: None if v != v else v for name, v in zip(PROXIES, values.tolist(), strict=True)}
        for task, values in scored.by_task().items()
    }


def _ranking(
    scored: dict[str, Scored], known: dict[tuple[str, str], float], method: str
) -> list[dict[str, Any]]:
    """One row a model, the best first."""
    import numpy as np

    from probes.forecast.rank.level import forecast_level
    from probes.forecast.rank.ranking import Method, fit_ranker, standardised

    names = list(scored)
    by_task = {name: scored[name].by_task() for name in names}
    tasks = [task for task in by_task[names[0]] if all(task in by_task[name] for name in names)]
    if not tasks:
        raise UsageError("No task's solutions fit into the context of every model.", param="solutions")
    table = np.array([[by_task[name][task] for name in names] for task in tasks])
    accuracy = np.array([[known.get((name, task), np.nan) for name in names] for task in tasks])
    held = ~np.isnan(accuracy).all(axis=0)
    if held.sum() >= 2:
        kind: Method = method  # type: ignore[assignment]
        ranker = fit_ranker(table, accuracy, method=kind)
        score = np.mean([ranker.score(one) for one in table], axis=0)
    else:
        score = -np.mean([standardised(one)[:, 0] for one in table], axis=0)
    means = [float(np.nanmean(accuracy[:, i])) if held[i] else None for i in range(len(names))]
    rows = []
    for i, name in enumerate(names):
        row: dict[str, Any] = {"model": name, "score": float(score[i]), "known": means[i]}
        row |= {"level": None, "low": None, "high": None}
        if means[i] is None and held.any():
            rates = [mean for mean in means if mean is not None]
            level = forecast_level(score[held], rates, float(score[i]))
            row |= {"level": level.rate, "low": level.low, "high": level.high}
        rows.append(row)
    return sorted(rows, key=lambda row: -float(row["score"]))
