"""A report photographed by a real browser: light, dark, down to the table of the routers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from eval.harness import evaluate
from eval.report import write_report
from eval.report.picture import BROWSERS, SHARPNESS, WIDTH, dark, write_pictures
from probes.errors import MissingExtraError
from tests.eval.sets import synthetic

needs_browser = pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="no Chromium on this machine")


def pixels(path: Path) -> np.ndarray:
    image = pytest.importorskip("matplotlib.image")
    read: np.ndarray = image.imread(path)[..., :3]
    return read


@needs_browser
def test_a_report_is_photographed_in_light_and_dark(tmp_path: Path) -> None:
    world = synthetic(300)
    result = evaluate(world.outcomes, scout=world.activations, routers=["independent"], seeds=1, draws=20)
    write_report(result, tmp_path / "report.html")
    write_pictures(tmp_path / "report.html", tmp_path / "report.png")

    light, night = (pixels(path) for path in (tmp_path / "report.png", dark(tmp_path / "report.png")))
    assert light.shape == night.shape
    assert light.shape[1] == WIDTH * SHARPNESS
    assert np.median(light) > 0.95  # paper
    assert np.median(night) < 0.15
    for picture in (light, night):
        assert picture.std() > 0.05  # and something on it
        assert picture[:, :8].std() < 0.02  # a margin: nothing is cut off at the side
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["report-dark.png", "report.html", "report.png"]


def test_without_a_browser_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtraError, match="browser"):
        write_pictures(tmp_path / "report.html", tmp_path / "report.png")
