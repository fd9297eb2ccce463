"""From a pool's settings to its backends, not yet started."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

from probes.errors import ConfigError
from router.configuration import settings as pool_file
from router.configuration.pool import Pool
from serving.backends.base import Backend
from serving.settings import GatewaySettings


def make_backends(pool: Pool, settings: GatewaySettings, log_folder: Path) -> dict[str, Backend]:
    """One backend for each entry of the pool file that some candidate uses.

    Parameters
    ----------
    pool
        Candidates and backends.
    settings
        The gateway's own settings.
    log_folder
        Where managed processes write their logs.

    Raises
    ------
    ConfigError
        Naming the pool's field, if an entry cannot work.
    """
    backends: dict[str, Backend] = {}
    for name, entry in pool.backends.items():
        models = sorted({candidate.model for candidate in pool.candidates if candidate.backend == name})
        if models:
            backends[name] = _make(name, entry, models, settings, log_folder)
    return backends


def _make(
    name: str, entry: pool_file.Backend, models: Sequence[str], settings: GatewaySettings, log_folder: Path
) -> Backend:
    """The modules of the kinds are imported here, so that each costs only those who use it."""
    match entry:
        case pool_file.OpenAIBackend():
            from serving.backends.openai import OpenAIBackend

            key = _api_key(name, entry)
            return OpenAIBackend(name, entry.url, api_key=key, connect_timeout_s=settings.connect_timeout_s)
        case pool_file.VllmBackend():
            return _managed_vllm(name, entry, models, settings, log_folder)
        case pool_file.LocalBackend():
            from serving.backends.local import LocalBackend

            return LocalBackend(name, Path(entry.model_path))
        case _:
            assert_never(entry)


def _managed_vllm(
    name: str,
    entry: pool_file.VllmBackend,
    models: Sequence[str],
    settings: GatewaySettings,
    log_folder: Path,
) -> Backend:
    from serving.backends.vllm import ManagedVllm
    from serving.vllm.flags import server_options
    from serving.vllm.process import VllmServer, free_port

    if len(models) != 1:
        message = f"Backend {name} serves one model, but its candidates ask for {', '.join(models)}"
        raise ConfigError(message, param=f"backends.{name}", hint="Give each model a backend of its own.")

    def make_server() -> VllmServer:
        options = server_options(entry, entry.model_path, models[0], free_port())
        return VllmServer(options, log_path=log_folder / f"vllm-{name}.log")

    return ManagedVllm(name, make_server, connect_timeout_s=settings.connect_timeout_s)


def _api_key(name: str, entry: pool_file.OpenAIBackend) -> str | None:
    variable = entry.api_key_env
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        message = f"Backend {name} takes its key from the environment variable {variable}, which is not set"
        raise ConfigError(message, param=f"backends.{name}.api_key_env", hint=f"export {variable}=...")
    return key
