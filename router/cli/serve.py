"""``foresight serve``: the gateway."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from probes.errors import UsageError

EXAMPLE = "Example: foresight serve pool.yaml --router router/ --port 8000"


class ScoutMode(StrEnum):
    """Where activations come from."""

    LOCAL = "local"
    NONE = "none"


def serve(
    pool: Annotated[Path, typer.Argument(metavar="POOL", help="The pool file.")],
    router: Annotated[
        Path | None, typer.Option(help="A fitted router's folder; default: the pool file's own.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    scout_mode: Annotated[
        ScoutMode,
        typer.Option(help="local: the scout runs in this process; none: always the safe candidate."),
    ] = ScoutMode.LOCAL,
    logs: Annotated[Path | None, typer.Option(help="Folder for the logs of vLLM servers.")] = None,
) -> None:
    """Serve an OpenAI-compatible endpoint; starts and stops the pool's vLLM servers."""
    from router.pool import Pool
    from router.router import Router

    loaded = Pool.load(pool)
    folder = router or loaded.router
    if folder is None:
        raise UsageError(
            f"{pool} names no fitted router.",
            param="router",
            hint="Add --router DIR, or router: DIR to the pool file; foresight fit makes one.",
        )
    fitted = Router.load(folder, pool=loaded)
    from serving.run import serve as run

    run(loaded, fitted, host=host, port=port, scout_mode=scout_mode.value, log_folder=logs)
