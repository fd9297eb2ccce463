"""``foresight evaluate``: compare routers and baselines by cross-validation."""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from probes.errors import UsageError
from router.cli.output import out, progress, say

if TYPE_CHECKING:
    from eval.difficulty import WhoseDifficulty
    from eval.harness.result import EvaluationResult
    from eval.outcomes import Outcomes
    from probes.encoders.cache import RenderingEncoder
    from probes.encoders.encoder import Activations

EXAMPLE = "Example: foresight evaluate outcomes/ --scout minilm --json figures.json --report report.html"


def evaluate(
    outcomes: Annotated[
        Path, typer.Argument(metavar="OUTCOMES", help="Folder of an outcome set, or a CSV of graded answers.")
    ],
    scout: Annotated[
        str, typer.Option(help="A transformers folder, minilm, ladder-s|m|l, or text (TF-IDF only).")
    ] = "text",
    routers: Annotated[
        str | None,
        typer.Option(help="Names with commas, or all; default: all but recipe, trunk, irt and factors."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many splits.")] = 5,
    tolerance: Annotated[float, typer.Option(min=0, max=1, help="Accuracy that may be given up.")] = 0.005,
    min_coverage: Annotated[
        float, typer.Option(min=0, max=1, help="Candidates that answered a smaller share are left out.")
    ] = 0.9,
    pool: Annotated[
        Path | None, typer.Option(metavar="POOL", help="A pool file: its scout's price is charged.")
    ] = None,
    scout_price: Annotated[
        float | None,
        typer.Option(min=0, help="Dollars per million tokens read; default: the pool's, or 0."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures as JSON; - prints them.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report as one HTML file.")
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Photograph the report, light and dark (FILE-dark.png)."),
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder that keeps activations between runs.")] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Processes side by side; default: as many as cores, 1 for a small set."),
    ] = None,
    difficulty: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Also: is this numeric field of the queries (people's difficulty) read out, or success?",
        ),
    ] = None,
) -> None:
    """Compare routers and baselines on an outcome set; every figure is of questions that were held out."""
    from eval.difficulty import table as difficulty_table
    from eval.harness import evaluate as compare
    from eval.harness.console import table
    from eval.harness.workers import sensible_jobs

    _check_places(json_file, report, picture)
    price = _price(scout_price, pool)
    graded = _graded(outcomes)
    encoder = _encoder(scout)
    read, whose = _whose(graded, encoder, difficulty, cache)
    with progress("Comparing") as told:
        result = compare(
            graded,
            scout=read or encoder,
            scout_name=encoder.identity.model if encoder else None,
            scout_usd_per_mtok=price,
            routers=[name.strip() for name in routers.split(",")] if routers else None,
            seeds=seeds,
            tolerance=tolerance,
            min_coverage=min_coverage,
            cache=cache,
            jobs=jobs or sensible_jobs(len(graded)),
            progress=told,
        )
    if report is not None or picture is not None:
        _write_report(result, report, picture)
    if json_file is None or str(json_file) != "-":
        out().print(table(result))
        if whose is not None:
            out().print(difficulty_table(whose))
    if json_file is None:
        return
    found = result.to_json() | ({"difficulty": whose.to_json()} if whose else {})
    text = json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if str(json_file) == "-":
        sys.stdout.write(text)
    else:
        json_file.write_text(text, encoding="utf-8")


def _check_places(*files: Path | None) -> None:
    """Before long work: can the results be written where they are wanted?"""
    for file in files:
        if file is not None and str(file) != "-" and (file.is_dir() or not file.resolve().parent.is_dir()):
            raise UsageError(f"{file} cannot be written.", hint="Name a file in a folder that is there.")


def _write_report(result: EvaluationResult, report: Path | None, picture: Path | None) -> None:
    from eval.report import write_report

    command = shlex.join(["foresight", *sys.argv[1:]])
    if report is not None:
        write_report(result, report, command=command)
        say(f"Wrote {report}.")
    if picture is not None:
        from eval.report.picture import dark, write_pictures

        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder) / "report.html"
            write_report(result, page, command=command)
            write_pictures(page, picture)
        say(f"Wrote {picture} and {dark(picture)}.")


def _graded(path: Path) -> Outcomes:
    """An outcome set, or anybody's table of graded answers (columns as for ``foresight import csv``)."""
    from eval.importers import Source, assemble, import_answers
    from eval.outcomes import Outcomes

    if path.is_file() and {".csv"} & set(path.suffixes):
        return assemble(import_answers("csv", [Source(path)]), name=path.name.split(".")[0])
    return Outcomes.load(path)


def _whose(
    graded: Outcomes, encoder: RenderingEncoder | None, column: str | None, cache: Path | None
) -> tuple[Activations | None, WhoseDifficulty | None]:
    """The scout's activations, read once for both, and whose difficulty they hold; or nothing."""
    if column is None:
        return None, None
    from eval.difficulty import whose_difficulty
    from eval.harness.evaluate import read_activations

    read = read_activations(graded, encoder, cache)
    if read is None:
        raise UsageError(
            "Difficulty is read out of a scout's activations, and there is no scout.",
            param="difficulty",
            hint="Name a scout, as --scout minilm.",
        )
    return read, whose_difficulty(graded, read, column)


def _encoder(scout: str) -> RenderingEncoder | None:
    if scout == "text":
        return None
    from router.configuration.paths import resolve_model
    from router.configuration.settings import Scout
    from router.scout import open_scout

    return open_scout(Scout(model=resolve_model(scout, Path.cwd()), layers="auto", positions="auto"))


def _price(given: float | None, pool: Path | None) -> float:
    """Dollars per million tokens that the scout reads."""
    if given is not None or pool is None:
        return given or 0.0
    from router.configuration.pool import Pool

    return Pool.load(pool).scout.price_usd_per_mtok
