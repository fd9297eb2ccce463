"""``foresight ladder``: the reference pool's models and questions."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from probes.errors import UsageError
from router.cli.output import say, write_json
from router.cli.prove import demo

app = typer.Typer(
    no_args_is_help=True, help="The reference pool: train its models, draw its questions, see it at work."
)
app.command("demo", epilog=demo.EXAMPLE)(demo.demo)


class Split(StrEnum):
    """Who may see a question."""

    TRAIN = "train"
    FIT = "fit"
    TEST = "test"


@app.command("train", epilog="Example: foresight ladder train -o models/")
def train(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where models are written.")],
    size: Annotated[
        list[str] | None, typer.Option(help="ladder-s, ladder-m or ladder-l; default: all.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights and questions.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Train the ladder again: up to two hours on two CPU cores; a GPU is used if there is one."""
    from eval.ladder.sizes import SIZES

    sizes = size or list(SIZES)
    for name in sizes:
        if name not in SIZES:
            known = ", ".join(SIZES)
            raise UsageError(f"There is no size {name!r} (there are: {known}).", param="size")
    from eval.ladder.train import train_all

    train_all(output, sizes, seed=seed)
    if as_json:
        write_json({"models": [str(output / name) for name in sizes]})
    else:
        say(f"Wrote {', '.join(str(output / name) for name in sizes)}.")


@app.command("ask", epilog="Example: foresight ladder ask -n 200 -o questions.jsonl")
def ask(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="queries.jsonl to write.")],
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 100,
    split: Annotated[
        Split, typer.Option(help="train taught the models, fit the router, test is unseen.")
    ] = Split.TEST,
    seed: Annotated[int, typer.Option(help="Same seed, same questions.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Draw questions with exact answers."""
    from eval.ladder.ask import ask as draw_to

    draw_to(n, output, seed=seed, split=split.value)
    if as_json:
        write_json({"queries": str(output), "n": n, "split": split.value, "seed": seed})
    else:
        say(f"Wrote {n} questions of the {split.value} split to {output}.")
