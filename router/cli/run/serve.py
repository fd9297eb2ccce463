"""``foresight serve``: the gateway."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from probes.errors import UsageError

if TYPE_CHECKING:
    from router.configuration.pool import Pool
    from router.router import Router

EXAMPLE = "Example: foresight serve pool.yaml --router router/ --port 8000"


class ScoutMode(StrEnum):
    """Where prompts are read."""

    ENGINE = "engine"
    DEDICATED = "dedicated"
    LOCAL = "local"
    NONE = "none"


def serve(
    pool: Annotated[Path, typer.Argument(metavar="POOL", help="The pool file.")],
    router: Annotated[
        Path | None, typer.Option(help="A fitted router's folder; default: the pool file's own.")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; default: the pool's, else 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port; 0 takes a free one. Default: the pool's, else 8000."),
    ] = None,
    scout_mode: Annotated[
        ScoutMode | None,
        typer.Option(
            help="engine: inside the vLLM server of the scout's model; dedicated: in one that only encodes; "
            "local: in this process; none: always the safe candidate. Default: the pool's."
        ),
    ] = None,
    logs: Annotated[Path | None, typer.Option(help="Folder for the logs of vLLM servers.")] = None,
    ledger: Annotated[
        str | None,
        typer.Option(
            help="Where decisions are kept: a SQLite file, postgresql://…, or none. "
            "Default: the pool's, else foresight-ledger.db here."
        ),
    ] = None,
) -> None:
    """Serve an OpenAI-compatible endpoint; starts and stops the pool's vLLM servers.

    SIGHUP reads the pool file and the router again, without losing a request.
    """
    loaded, fitted = _load(pool, router)
    from serving.run import serve as run
    from serving.settings import GatewaySettings

    settings = GatewaySettings.of_section(loaded.serve, pool.resolve().parent, str(pool))
    if ledger is not None:
        settings = settings.with_ledger(None if ledger == "none" else ledger)
    run(
        loaded,
        fitted,
        host=host,
        port=port,
        scout_mode=None if scout_mode is None else scout_mode.value,
        log_folder=logs,
        settings=settings,
        reload=lambda: _load(pool, router),
    )


def _load(path: Path, folder: Path | None) -> tuple[Pool, Router]:
    from router.configuration.pool import Pool
    from router.router import Router

    pool = Pool.load(path)
    folder = folder or pool.router
    if folder is None:
        raise UsageError(
            f"{path} names no fitted router.",
            param="router",
            hint="Add --router DIR, or router: DIR to the pool file; foresight fit makes one.",
        )
    return pool, Router.load(folder, pool=pool)
