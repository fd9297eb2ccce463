"""A report as a picture, by a browser without a window."""

from __future__ import annotations

import shutil
from pathlib import Path

from probes.errors import MissingExtraError

WIDTH, HEIGHT = 1200, 1500
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def write_picture(report: Path, picture: Path) -> None:
    """Photograph the top of an HTML report: headline, frontier and the first table.

    Parameters
    ----------
    report : Path
        From `eval.report.write_report`.
    picture : Path
        A PNG file; half of a page's pixels would blur the labels, so one and a half times as many are taken.

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
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        try:
            page = browser.new_page(
                viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=1.5, color_scheme="light"
            )
            page.goto(report.resolve().as_uri())
            page.screenshot(path=str(picture))
        finally:
            browser.close()
