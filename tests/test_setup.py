"""What `make setup` needs from a machine, and what it says when something is missing."""

from __future__ import annotations

import ctypes
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def preflight() -> ModuleType:
    spec = importlib.util.spec_from_file_location("preflight", ROOT / "requirements" / "preflight.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_bare_debian_is_told_what_to_install(
    preflight: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_library(name: str) -> Any:
        raise OSError(name)

    monkeypatch.setattr(preflight.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(preflight.os.path, "exists", lambda path: False)
    monkeypatch.setattr(ctypes, "CDLL", no_library)
    monkeypatch.setattr(preflight, "may_install", lambda: False)

    assert preflight.main() == 1
    assert "apt-get install --no-install-recommends python3-venv libnuma1" in capsys.readouterr().err


def test_root_on_debian_gets_what_is_missing(preflight: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []

    def run(command: list[str], **options: Any) -> Any:
        ran.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(preflight, "missing_packages", lambda: ["libnuma1"])
    monkeypatch.setattr(preflight, "may_install", lambda: True)
    monkeypatch.setattr(preflight.subprocess, "run", run)

    assert preflight.main() == 0
    assert ran[-1][-1] == "libnuma1"


def test_an_old_python_is_named(
    preflight: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(preflight.sys, "version_info", (3, 9, 2, "final", 0))
    assert preflight.main() == 1
    assert "needs Python 3.11 or newer; this is 3.9.2" in capsys.readouterr().err


def test_this_machine_has_what_it_takes(preflight: ModuleType) -> None:
    assert preflight.missing_packages() == []


def test_every_command_of_the_readme_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"`make ([a-z-]+)", (ROOT / "README.md").read_text())
    assert set(named) <= targets
    assert {"setup", "demo", "test", "lint", "clean"} <= targets


def test_ci_runs_the_readmes_commands() -> None:
    script = ROOT / ".ci" / "run"
    assert "make test" in script.read_text()
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_the_lock_closes_over_what_is_installed() -> None:
    done = subprocess.run(
        [sys.executable, "requirements/lock.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    committed = (ROOT / "requirements" / "lock.txt").read_text()

    def names(text: str) -> set[str]:
        return {line.partition("==")[0] for line in text.splitlines() if not line.startswith("#")}

    assert names(done.stdout) == names(committed), "run `make lock`"
    assert "+" not in committed
