"""``foresight add``: a new candidate, or a new checkpoint of one, with few graded answers or none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from probes.errors import DataError
from router.cli.output import out, progress, say, write_json

if TYPE_CHECKING:
    from router.router import Router
    from router.update.answers import Answers
    from router.update.report import NewcomerReport

EXAMPLE = "Example: foresight add router/ qwen3-14b --pool pool.yaml --outcomes answers/"
VERDICTS = {
    "ranks": "the old directions rank its answers",
    "weaker": "the old directions rank its answers less well than they should: fit the router again",
    "unknown": "too few labels to say whether the old directions rank its answers",
}


def add(
    router: Annotated[Path, typer.Argument(metavar="ROUTER", help="A fitted router's folder.")],
    candidate: Annotated[
        str, typer.Argument(metavar="CANDIDATE", help="A new one, or one of the router's: a new checkpoint.")
    ],
    outcomes: Annotated[
        Path | None, typer.Option(help="Outcome set with its graded answers; 20 to 200 will do.")
    ] = None,
    pool: Annotated[Path | None, typer.Option(help="Pool file that describes the new candidate.")] = None,
    level: Annotated[
        float | None, typer.Option(help="A forecast of its success rate, as of foresight forecast.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Default: the router itself.")
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder that keeps activations between runs.")] = None,
    seed: Annotated[int, typer.Option(help="Of the bootstraps.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fit a newcomer's level and slope, and leave all other probes as they are."""
    from router.configuration.pool import Pool
    from router.router import Router
    from router.update.newcomer import add as join

    described = Pool.load(pool) if pool else None
    loaded = Router.load(router)
    answers = _answers(loaded, candidate, outcomes, cache) if outcomes else None
    fresh, report = join(loaded, candidate, answers, pool=described, level=level, seed=seed)
    place = output or router
    fresh.save(place)
    if as_json:
        write_json({"router": str(place), **report.to_dict()})
    else:
        _draw(report)
        say(f"Wrote {place}. A running gateway must load it again. Policies keep their knobs.")


def _answers(router: Router, candidate: str, folder: Path, cache: Path | None) -> Answers:
    """The candidate's graded answers, with activations and what the router's own candidates did."""
    import numpy as np

    from eval.outcomes import Outcomes
    from probes.encoders.cache import ActivationCache
    from router.scout import open_scout
    from router.update.answers import Answers

    graded = Outcomes.load(folder)
    if candidate not in graded.candidates:
        raise DataError(
            f"{folder} has no outcomes of {candidate!r} (it has {', '.join(graded.candidates)}).",
            param="model",
            hint="Name the candidate as the outcome set does.",
        )
    column = graded.candidates.index(candidate)
    graded = graded.take(graded.answered[:, column])
    encoder = open_scout(router.pool.scout, like=router.identity)
    with progress("Reading prompts") as told:
        if cache is None:
            activations = encoder.encode(graded.conversations, progress=told)
        else:
            activations = ActivationCache(cache).encode(encoder, graded.conversations, progress=told)
    others = np.full((len(graded), len(router.fitted.candidates)), np.nan)
    for k, name in enumerate(router.fitted.candidates):
        if name in graded.candidates and name != candidate:
            others[:, k] = graded.correct[:, graded.candidates.index(name)]
    return Answers(
        activations.features(),
        graded.correct[:, column],
        graded.samples[:, column],
        graded.output_tokens[:, column],
        others,
    )


def _draw(report: NewcomerReport) -> None:
    console = out()
    canary = report.canary
    table = Table("", report.candidate, header_style="bold")
    table.add_row("", f"new {report.kind}")
    table.add_row("graded answers", str(report.n_labels))
    before = "" if report.level_before is None else f" (before: {report.level_before:.1%})"
    table.add_row("expected success", f"{report.level:.1%}{before}")
    table.add_row("expected tokens", f"{report.output_tokens:.0f}")
    if canary.n_labels and canary.auroc == canary.auroc:
        interval = (
            f"{canary.auroc:.3f} ({canary.low:.3f} to {canary.high:.3f}), should be {canary.expected:.3f}"
        )
        table.add_row("AUROC of the old directions", interval)
    table.add_row("verdict", f"{canary.verdict}: {VERDICTS[canary.verdict]}")
    console.print(table)
    if report.errors:
        growth = Table("labels", "level off by", title="What labels bring", title_justify="left")
        for column in growth.columns:
            column.justify = "right"
        for row in report.errors:
            own = row.n_labels == report.n_labels
            growth.add_row(str(row.n_labels), f"±{row.error:.1%}", style="bold" if own else "")
        console.print(growth)
