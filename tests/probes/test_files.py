"""A whole file takes its name, or nothing does."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from probes.files import OWNER_ONLY, whole_file


def test_content_takes_the_name_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with whole_file(target) as fresh:
        fresh.write_text("new")
        assert not target.exists()
        assert stat.S_IMODE(fresh.stat().st_mode) == OWNER_ONLY
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [target]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(OSError, match="disk full"), whole_file(target) as fresh:
        _write_half(fresh)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_secret_stays_its_owners(tmp_path: Path) -> None:
    with whole_file(tmp_path / "keys", mode=OWNER_ONLY) as fresh:
        fresh.write_text("x")
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == OWNER_ONLY


def _write_half(path: Path) -> None:
    path.write_text("ne")
    raise OSError("disk full")
