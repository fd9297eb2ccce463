"""Get what this machine lacks before anything else is installed: `python3 requirements/preflight.py`.

Runs on Python 3.7 and uses the standard library only. On Debian and as root it installs the missing packages;
otherwise it ends with status 1 and says which ones. `--tests` looks for what only tests need (a browser, a
PostgreSQL server) and ends with status 0 in any case: tests without theirs are skipped and say why.
"""

from __future__ import annotations

import ctypes
import glob
import importlib.util
import os
import shutil
import subprocess
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


def missing_for_tests() -> list[str]:
    """Names of the Debian packages that only some tests need and this machine lacks."""
    missing = []
    if not (shutil.which("chromium") or shutil.which("chromium-browser")):
        missing.append("chromium")
    if not (shutil.which("postgres") or glob.glob("/usr/lib/postgresql/*/bin/postgres")):
        missing.append("postgresql")
    return missing


def may_install() -> bool:
    """Whether this is root on a system with apt."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(packages: list[str]) -> bool:
    """Install Debian packages; whether that worked."""
    sys.stderr.write(f"Installing {' '.join(packages)} with apt-get\n")
    quiet = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    commands = (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages],
    )
    return all(subprocess.run(command, env=quiet, check=False).returncode == 0 for command in commands)


def main() -> int:
    """Check the interpreter and the system packages."""
    if sys.version_info < (3, 11):
        found = ".".join(map(str, sys.version_info[:3]))
        sys.stderr.write(f"Foresight needs Python 3.11 or newer; this is {found}.\n")
        sys.stderr.write("Name another one: make setup PYTHON=python3.12\n")
        return 1
    if "--tests" in sys.argv[1:]:
        wanted = missing_for_tests()
        if wanted and not (may_install() and install(wanted)):
            sys.stderr.write(f"Without {' and '.join(wanted)} the tests that need them are skipped.\n")
        return 0
    missing = missing_packages()
    if missing and may_install() and install(missing):
        return 0
    if missing:
        sys.stderr.write("This machine lacks what setting up needs. On Debian or Ubuntu, as root:\n\n")
        sys.stderr.write(
            f"    apt-get install --no-install-recommends {' '.join(missing)}\n\nThen run make again.\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
