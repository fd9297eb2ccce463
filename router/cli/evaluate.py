"""``foresight evaluate``: compare routers and baselines by cross-validation."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from router.cli.output import out, progress, say

if TYPE_CHECKING:
    from probes.cache import RenderingEncoder

EXAMPLE = "Example: foresight evaluate outcomes/ --scout minilm --json figures.json --report report.html"


def evaluate(
    outcomes: Annotated[Path, typer.Argument(metavar="OUTCOMES", help="Folder of an outcome set.")],
    scout: Annotated[
        str, typer.Option(help="A transformers folder, minilm, ladder-s|m|l, or text (TF-IDF only).")
    ] = "text",
    routers: Annotated[str | None, typer.Option(help="Names with commas; default: all.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many splits.")] = 5,
    tolerance: Annotated[float, typer.Option(min=0, max=1, help="Accuracy that may be given up.")] = 0.005,
    scout_price: Annotated[float, typer.Option(min=0, help="Dollars per million tokens read.")] = 0.0,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures as JSON; - prints them.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report as one HTML file.")
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder that keeps activations between runs.")] = None,
) -> None:
    """Compare routers and baselines on an outcome set; every figure is of questions that were held out."""
    from eval.harness import evaluate as compare
    from eval.harness.console import table
    from eval.outcomes import Outcomes

    graded = Outcomes.load(outcomes)
    encoder = _encoder(scout)
    with progress("Comparing") as told:
        result = compare(
            graded,
            scout=encoder,
            scout_usd_per_mtok=scout_price,
            routers=[name.strip() for name in routers.split(",")] if routers else None,
            seeds=seeds,
            tolerance=tolerance,
            cache=cache,
            progress=told,
        )
    if report is not None:
        from eval.report import write_report

        write_report(result, report, command=shlex.join(["foresight", *sys.argv[1:]]))
        say(f"Wrote {report}.")
    if json_file is None:
        out().print(table(result))
        return
    text = json.dumps(result.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if str(json_file) == "-":
        sys.stdout.write(text)
    else:
        json_file.write_text(text, encoding="utf-8")
        out().print(table(result))


def _encoder(scout: str) -> RenderingEncoder | None:
    if scout == "text":
        return None
    from router.paths import resolve_model
    from router.scout import open_scout
    from router.settings import Scout

    return open_scout(Scout(model=resolve_model(scout, Path.cwd())))
