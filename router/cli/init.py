"""``foresight init``: a pool file that explains itself."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from probes.errors import UsageError
from probes.files import whole_file
from router.cli.output import say, write_json

EXAMPLE = "Example: foresight init pool.yaml"


def init(
    path: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("pool.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print where it was written as JSON.")] = False,
) -> None:
    """Write a commented pool file; as it stands it describes the packaged ladder models."""
    if path.is_dir():
        path = path / "pool.yaml"
    if path.exists() and not force:
        raise UsageError(
            f"{path} exists.", param="path", hint="Choose another name, or replace it by --force."
        )
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent}.", param="path")
    with whole_file(path) as fresh:
        fresh.write_bytes(files("router.cli").joinpath("pool.yaml").read_bytes())
    if as_json:
        write_json({"pool": str(path)})
    else:
        say(f"Wrote {path}. Next: edit it, then foresight serve {path}")
