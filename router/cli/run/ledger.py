"""``foresight ledger``: look into what a gateway wrote down, take it out, throw it away."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from probes.errors import DataError
from router.cli.output import money, out, say, write_json
from router.cli.run import hindsight

if TYPE_CHECKING:
    from eval.outcomes import Outcomes
    from serving.ledger.reading.export import RatedAnswer
    from serving.ledger.reading.money import Saving, Totals
    from serving.ledger.reading.traffic import Traffic

DAY_S = 86_400.0
EXPORT_EXAMPLE = "Example: foresight ledger export foresight-ledger.db -o outcomes/"
PRUNE_EXAMPLE = "Example: foresight ledger prune foresight-ledger.db --keep-days 30"
SHOW_EXAMPLE = "Example: foresight ledger show foresight-ledger.db --days 7"

app = typer.Typer(help="Look into what a gateway wrote down.", no_args_is_help=True)
app.command("judge", epilog=hindsight.EXAMPLE)(hindsight.judge)

LedgerArgument = Annotated[
    str, typer.Argument(metavar="LEDGER", help="A SQLite file, or postgresql://user:password@host/name.")
]
Days = Annotated[float, typer.Option(min=0.001, help="How far to look back, in days.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("export", epilog=EXPORT_EXAMPLE)
def export(
    ledger: LedgerArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUTCOMES", help="Folder of the outcome set.")
    ],
    days: Days = 3650.0,
    as_json: AsJson = False,
) -> None:
    """Write rated answers as an outcome set, for fit and evaluate; the ledger must have kept prompts."""
    from serving.ledger.database import open_ledger
    from serving.ledger.reading.export import n_rated, rated_answers
    from serving.ledger.reading.window import Window

    if output.exists() and (output.is_file() or any(output.iterdir())):
        hint = "Choose a new folder; nothing was written."
        raise DataError(f"{output} exists and is not empty.", param="output", hint=hint)
    database = open_ledger(ledger)
    window = Window.last(days * DAY_S, time.time() + DAY_S)
    try:
        answers = list(rated_answers(database, window))
        if not answers:
            raise _nothing(n_rated(database, window), database.shown)
    finally:
        database.close()
    outcomes = as_outcomes(answers)
    outcomes.save(output)
    told = {"queries": len(outcomes), "outcomes": int(outcomes.answered.sum()), "ratings": len(answers)}
    if as_json:
        write_json({"folder": str(output), **told})
    else:
        say(f"Wrote {output}: {told['queries']} queries, {told['outcomes']} outcomes.")


@app.command("prune", epilog=PRUNE_EXAMPLE)
def prune(
    ledger: LedgerArgument,
    keep_days: Annotated[float, typer.Option(min=0, help="Decisions older than this are removed.")],
    as_json: AsJson = False,
) -> None:
    """Remove old decisions and all that belongs to them."""
    from serving.ledger.database import open_ledger
    from serving.ledger.store import Store

    database = open_ledger(ledger)
    try:
        removed = Store(database).prune(time.time() - keep_days * DAY_S)
    finally:
        database.close()
    if as_json:
        write_json({"removed": removed})
    else:
        say(f"Removed {removed} decisions from {database.shown}.")


@app.command("show", epilog=SHOW_EXAMPLE)
def show(ledger: LedgerArgument, days: Days = 7.0, as_json: AsJson = False) -> None:
    """Traffic, cost and saving of the last days."""
    from serving.ledger.database import open_ledger
    from serving.ledger.reading import money, traffic
    from serving.ledger.reading.window import Window

    database = open_ledger(ledger)
    window = Window.last(days * DAY_S, time.time())
    try:
        totals = money.totals(database, window)
        saving = money.saving(database, window)
        candidates = traffic.by_candidate(database, window)
    finally:
        database.close()
    if as_json:
        rows = [asdict(row) for row in candidates]
        write_json({"totals": asdict(totals), "saving": asdict(saving), "candidates": rows})
    else:
        _draw(totals, saving, candidates, days)


def as_outcomes(answers: Iterable[RatedAnswer]) -> Outcomes:
    """An outcome set: equal prompts are one query, ratings of one candidate's answers to it one mean."""
    import numpy as np

    from eval.outcomes import Outcomes
    from eval.queries import Queries

    cells: dict[tuple[str, str], list[RatedAnswer]] = {}
    for answer in answers:
        cells.setdefault((answer.prompt, answer.candidate), []).append(answer)
    prompts = list(dict.fromkeys(prompt for prompt, _ in cells))
    candidates = sorted({candidate for _, candidate in cells})
    names = ("correct", "input_tokens", "output_tokens", "cost_usd", "latency_s")
    tables = {name: np.full((len(prompts), len(candidates)), np.nan) for name in names}
    samples = np.zeros((len(prompts), len(candidates)))
    row, column = _positions(prompts), _positions(candidates)
    for (prompt, candidate), cell in cells.items():
        place = row[prompt], column[candidate]
        samples[place] = len(cell)
        for name, table in tables.items():
            known = [value for answer in cell if (value := getattr(answer, name)) is not None]
            table[place] = np.mean(known) if known else np.nan
    ids = ["q-" + hashlib.sha256(prompt.encode()).hexdigest()[:16] for prompt in prompts]
    queries = Queries.build([_prompt(text) for text in prompts], ids=ids)
    return Outcomes.build(queries, candidates, tables.pop("correct"), samples=samples, **tables)


def _positions(names: Iterable[str]) -> dict[str, int]:
    return {name: i for i, name in enumerate(names)}


def _prompt(text: str) -> Any:
    """Messages, or a text; a list of texts (completions) is asked as one."""
    content = json.loads(text)
    if isinstance(content, list) and all(isinstance(part, str) for part in content):
        return "\n".join(content)
    return content


def _nothing(n_rated: int, place: str) -> DataError:
    if n_rated:
        message = f"{place} has {n_rated} rated answers, but no prompts."
        hint = "Set ledger: {prompts: true} below serve: in the pool file; prompts are kept from then on."
    else:
        message, hint = f"{place} has no rated answers.", "Send feedback: POST /v1/feedback."
    return DataError(message, param="ledger", hint=hint)


def _draw(totals: Totals, saving: Saving, traffic: tuple[Traffic, ...], days: float) -> None:
    table = Table("candidate", "answers", "share", "predicted", "cost", title=f"Last {days:g} days")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in traffic:
        predicted = "–" if row.predicted is None else f"{row.predicted:.2f}"
        table.add_row(row.candidate, f"{row.requests:,}", f"{row.share:.0%}", predicted, money(row.spend_usd))
    console = out()
    console.print(table)
    console.print(
        f"{totals.requests:,} requests, {totals.errors} errors, {totals.aborted} left early;"
        f" {money(totals.spend_usd)} and {money(totals.scout_usd)} for reading; {totals.rated} rated"
    )
    if saving.share is not None and saving.low is not None and saving.high is not None:
        console.print(
            f"Saved {saving.share:.0%} ({saving.low:.0%} to {saving.high:.0%}) of what {saving.reference}"
            f" alone would have cost: {money(saving.saved_usd)}"
        )
