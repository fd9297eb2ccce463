"""Say what this machine lacks before anything is installed: `python3 requirements/preflight.py`.

Runs on Python 3.7 and uses the standard library only. Ends with status 1 and advice if something is missing.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys


def missing_packages() -> list[str]:
    """Names of the Debian packages that setting up needs and this machine lacks."""
    missing = []
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        missing.append("python3-venv")
    if not os.path.exists("/proc/driver/nvidia/version"):
        try:
            ctypes.CDLL("libnuma.so.1")  # the CPU build of vLLM is linked against it
        except OSError:
            missing.append("libnuma1")
    return missing


def main() -> int:
    """Check the interpreter and the system packages."""
    if sys.version_info < (3, 11):
        found = ".".join(map(str, sys.version_info[:3]))
        sys.stderr.write(f"Foresight needs Python 3.11 or newer; this is {found}.\n")
        sys.stderr.write("Name another one: make setup PYTHON=python3.12\n")
        return 1
    missing = missing_packages()
    if missing:
        sys.stderr.write("This machine lacks what setting up needs. On Debian or Ubuntu, as root:\n\n")
        sys.stderr.write(
            f"    apt-get install --no-install-recommends {' '.join(missing)}\n\nThen run make again.\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
