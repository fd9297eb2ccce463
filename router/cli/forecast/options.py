"""What the forecasts' commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from probes.errors import UsageError

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Device = Annotated[str, typer.Option(help="torch device.")]
Think = Annotated[bool, typer.Option("--think", help="Render prompts with enable_thinking.")]


def named(model: str) -> tuple[str, Path]:
    """``NAME=FOLDER`` or a folder, which is then its own name; `UsageError` where there is no folder."""
    name, sign, place = model.partition("=")
    folder = Path(place if sign else model)
    if not folder.is_dir():
        raise UsageError(
            f"There is no model folder {folder}.",
            param="models",
            hint="Give folders in transformers' format, or NAME=FOLDER.",
        )
    return (name if sign else folder.resolve().name), folder
