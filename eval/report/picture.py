"""A report as pictures, light and dark, by a browser without a window."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from probes.errors import MissingExtraError

if TYPE_CHECKING:
    from playwright.sync_api import FloatRect

WIDTH, HEIGHT = 1040, 1600
SHARPNESS = 1.5
"""Pixels of the picture to one of the page; at one, labels blur."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""Flags of a browser that shows one local page and asks nobody anything."""


_END = "() => document.querySelectorAll('section')[1]?.getBoundingClientRect().bottom ?? 0"
"""Where the table of all routers ends."""


def dark(picture: Path) -> Path:
    """Where the dark one of two pictures lies: ``report.png`` and ``report-dark.png``."""
    return picture.with_name(f"{picture.stem}-dark{picture.suffix}")


def write_pictures(report: Path, picture: Path) -> None:
    """Photograph the top of an HTML report, light and dark: headline, figures, frontier, table.

    Parameters
    ----------
    report : Path
        From `eval.report.write_report`.
    picture : Path
        A PNG file; the dark one lies beside it (`dark`). They are moved there when both are made.

    Raises
    ------
    MissingExtraError
        Playwright or a browser is not installed.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as exc:
        raise MissingExtraError("A picture needs Playwright.", hint="pip install playwright") from exc
    browser_path = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser_path is None:
        raise MissingExtraError("A picture needs a browser.", hint="Install Chromium.")
    with tempfile.TemporaryDirectory(dir=picture.parent) as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=QUIET)
        try:
            for theme, target in (("light", picture), ("dark", dark(picture))):
                page = browser.new_page(
                    viewport={"width": WIDTH, "height": HEIGHT},
                    device_scale_factor=SHARPNESS,
                    color_scheme=theme,  # type: ignore[arg-type]
                )
                page.goto(report.resolve().as_uri())
                page.screenshot(
                    path=str(Path(folder) / target.name), clip=_top(page.evaluate(_END)), full_page=True
                )
        finally:
            browser.close()
        for target in (picture, dark(picture)):
            (Path(folder) / target.name).replace(target)


def _top(end: float) -> FloatRect:
    """The page down to the end of its first table; a screen where there is none."""
    return {"x": 0, "y": 0, "width": WIDTH, "height": round(end) + 24 if end else HEIGHT}
