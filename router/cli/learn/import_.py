"""``foresight import``: other people's graded answers as an outcome set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from probes.errors import UsageError
from router.cli.output import say, write_json

if TYPE_CHECKING:
    from eval.importers import Source
    from eval.outcomes import Outcomes, Price

EXAMPLE = "Example: foresight import csv answers.csv -o outcomes/"


def import_(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="lm-eval, inspect, routerbench, routellm or csv.")
    ],
    paths: Annotated[
        list[str], typer.Argument(metavar="PATHS", help="Files or folders; NAME=PATH names the candidate.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The outcome set's folder.")],
    metric: Annotated[str | None, typer.Option(help="The score that says right or wrong.")] = None,
    filter_: Annotated[
        str | None, typer.Option("--filter", help="lm-eval: the answer extraction that counts.")
    ] = None,
    prompt_field: Annotated[
        str | None, typer.Option(help="lm-eval: the field of doc that holds the question.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="OURS=THEIRS,…", help="csv: other names of columns.")
    ] = None,
    prices: Annotated[
        Path | None, typer.Option(help="CSV of model, usd_per_mtok_in, usd_per_mtok_out.")
    ] = None,
    average: Annotated[bool, typer.Option("--average", help="Average repeated answers.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON.")] = False,
) -> None:
    """Make an outcome set of logs; then `foresight evaluate` compares routers on it."""
    from eval.importers import Options, assemble, import_answers

    options = Options(metric, filter_, prompt_field, parse_columns(columns))
    answers = import_answers(kind, [_source(path) for path in paths], options)
    name = output.resolve().name
    outcomes = assemble(answers, average=average, prices=_prices(prices), name=name)
    outcomes.save(output)
    _tell(outcomes, output, as_json)


def parse_columns(columns: str | None) -> dict[str, str]:
    """``prompt=question,correct=score`` as a mapping."""
    pairs = [pair.partition("=") for pair in (columns or "").split(",") if pair.strip()]
    for ours, _, theirs in pairs:
        if not ours.strip() or not theirs.strip():
            raise UsageError(
                f"{ours!r} says no column.", param="columns", hint="Write --columns prompt=text."
            )
    return {ours.strip(): theirs.strip() for ours, _, theirs in pairs}


def _source(path: str) -> Source:
    from eval.importers import Source

    name, sign, rest = path.partition("=")
    if sign and not Path(path).exists() and name.strip():
        return Source(Path(rest), name.strip())
    return Source(Path(path))


def _prices(path: Path | None) -> dict[str, Price]:
    from eval.outcomes import load_prices

    return {} if path is None else load_prices(path)


def _tell(outcomes: Outcomes, output: Path, as_json: bool) -> None:
    answered = int(outcomes.answered.sum())
    coverage = outcomes.answered.mean(axis=0)
    if as_json:
        by_name = zip(outcomes.candidates, coverage.tolist(), strict=True)
        summary = {"outcomes": str(output), "queries": len(outcomes), "answers": answered}
        write_json(summary | {"coverage": dict(by_name)})
        return
    say(f"Wrote {answered:,} answers of {len(outcomes.candidates)} candidates to {len(outcomes):,} queries.")
    for name, share in zip(outcomes.candidates, coverage, strict=True):
        if share < 1:
            say(f"{name} answered {share:.0%} of them.")
    say(f"Next: foresight evaluate {output}")
