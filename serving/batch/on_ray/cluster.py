"""Ray: started on this machine, or joined by its address."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from probes.errors import BackendError, MissingExtraError

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_niceness": "0",
}
"""Nobody is told that Ray runs; no bars between our own lines; workers count as much as any other process."""


@contextmanager
def cluster(address: str | None = None, cores: int | None = None) -> Iterator[None]:
    """Ray for as long as the context lasts; what it prints goes to standard error.

    Parameters
    ----------
    address
        Of a running cluster, as ``HOST:PORT`` or ``auto``; None starts Ray on this machine.
    cores
        Processor cores that a Ray started here may plan with; None: all.

    Raises
    ------
    MissingExtraError
        Ray is not installed.
    BackendError
        It cannot be started, or nobody answers at the address.
    """
    os.environ |= {name: value for name, value in _QUIET.items() if name not in os.environ}
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            f"The engine ray needs {error.name}", hint='Run: pip install "foresight-router[ray]"'
        ) from error
    own: dict[str, Any] = {} if address else {"num_cpus": cores, "include_dashboard": False}
    with redirect_stdout(sys.stderr):
        _start(ray, address, own)
        try:
            yield
        finally:
            ray.shutdown()


def _start(ray: Any, address: str | None, own: dict[str, Any]) -> None:
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, OSError, RuntimeError, TimeoutError, ValueError) as error:
        where = f"at {address} " if address else ""
        raise BackendError(
            f"Ray {where}cannot be used: {str(error).splitlines()[0][:200]}",
            param="address",
            hint="Check the address of the cluster, or leave it out to start Ray on this machine.",
        ) from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
