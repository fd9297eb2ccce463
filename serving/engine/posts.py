"""From a pool to a scout in an engine: in the server of its own model, or in one that only encodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from probes.errors import ConfigError
from probes.scoring.reference import Reference
from router.configuration.pool import Pool
from router.configuration.settings import VllmBackend
from router.router import Router
from serving.backends.base import Backend
from serving.backends.vllm import ManagedVllm
from serving.engine.early.begun import BeginningBackend
from serving.engine.post import Post
from serving.engine.room import EngineRoom
from serving.engine.scout import EngineScout
from serving.engine.truncation import truncated
from serving.vllm.flags import server_options
from serving.vllm.process import VllmServer, free_port

NAME = "scout"
"""Model name at a server that only encodes."""


def engine_scout(
    pool: Pool, router: Router, make_backends: Callable[[Pool], dict[str, Backend]]
) -> tuple[EngineScout, dict[str, Backend]]:
    """The scout inside the managed server of its own model, and the pool's backends.

    Parameters
    ----------
    pool
        One of its vLLM backends must serve the scout's model.
    router
        Fitted on what that engine can read.
    make_backends
        Makes the backends of a pool, whose scout's backend has been told of the probe.

    Raises
    ------
    ConfigError
        If no backend serves the scout's model.
    ArtefactError
        If the router keeps no reference prompt.
    """
    reference = Reference.from_dict(router.record.get("reference"))
    name, entry = _backend_of_scout(pool)
    room = EngineRoom.make(router.identity)
    try:
        told = pool.backends | {name: room.tell(entry, f"backends.{name}")}
        backends = make_backends(pool.model_copy(update={"backends": told}))
    except BaseException:
        room.remove()
        raise
    backend = backends[name] = BeginningBackend(backends[name])
    model = next(candidate.model for candidate in pool.candidates if candidate.backend == name)
    return EngineScout(Post("engine", backend, room, model, name), router, reference), backends


def dedicated_scout(pool: Pool, router: Router, logs: Path) -> EngineScout:
    """The scout in a vLLM server of its own, without the blocks that it does not read.

    Raises
    ------
    ArtefactError
        If the router keeps no reference prompt.
    """
    reference = Reference.from_dict(router.record.get("reference"))
    room = EngineRoom.make(router.identity)
    try:
        told = room.tell(pool.scout.server, "scout.server")
    except ConfigError:
        room.remove()
        raise

    def make_server() -> VllmServer:
        model = Path(pool.scout.model)
        if model.is_dir():
            model = truncated(model, max(router.identity.layers), room.folder / "model")
        options = server_options(told, str(model), NAME, free_port())
        return VllmServer(options, log_path=logs / f"vllm-{NAME}.log")

    backend = BeginningBackend(ManagedVllm(NAME, make_server))
    return EngineScout(Post("dedicated", backend, room, NAME), router, reference)


def _backend_of_scout(pool: Pool) -> tuple[str, VllmBackend]:
    used = {candidate.backend for candidate in pool.candidates}
    for name, entry in pool.backends.items():
        if isinstance(entry, VllmBackend) and entry.model_path == pool.scout.model and name in used:
            return name, entry
    raise ConfigError(
        f"No vLLM backend of this pool serves the scout's model {pool.scout.model}",
        param="scout.mode",
        hint="Use scout mode dedicated or local, or give the scout's model a candidate on a vLLM backend.",
    )
