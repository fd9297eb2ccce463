"""The page of batches: its code runs as it stands, its commands have the options that it names."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "batch.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", blocks("python"))
def test_its_python_runs(block: str) -> None:
    subprocess.run([sys.executable, "-c", block], check=True, timeout=120)


@pytest.mark.parametrize("command", "".join(blocks("sh")).splitlines())
def test_its_commands_are_real(command: str) -> None:
    words = shlex.split(command)
    told = subprocess.run(
        [Path(sys.executable).parent / words[0], *words[1:3], "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(word in told.stdout for word in words if word.startswith("-"))
