"""The picture of the dashboard: ``python -m tests.serving.dashboard.picture docs/dashboard.png``.

A real gateway answers real questions of the reference pool, each answer is graded and sent back as feedback,
and the page is taken as Chromium shows it. Nothing on it is made up.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import HTTPError

from playwright.sync_api import Page, expect

from eval.grading.graders import grade
from eval.ladder.questions import Question, draw
from tests.serving.dashboard.stand import chromium, gateway, post

SHOWN = "Today is January 7. What is the date 25 days from now?"


def ask(url: str, question: Question) -> None:
    """Ask, grade, and say how good the answer was."""
    body = {"model": "auto", "messages": [{"role": "user", "content": question.prompt}]}
    try:
        told = post(url, "/v1/chat/completions", {**body, "foresight": {"explain": True}})
    except HTTPError as error:  # the page counts it
        error.close()
        return
    text = told["choices"][0]["message"]["content"] or ""
    right = grade("exact", text, question.answer)
    post(url, "/v1/feedback", {"decision_id": told["foresight"]["id"], "correct": right})


def traffic(url: str, n_questions: int, seconds: float) -> None:
    """Send questions evenly over a time."""
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        for k, question in enumerate(draw(n_questions, 5, "test")):
            time.sleep(max(0.0, began + seconds * k / n_questions - time.monotonic()))
            pool.submit(ask, url, question)


def take(page: Page, url: str, path: Path) -> None:
    """Fill the playground, send its prompt, and take the page."""
    page.goto(f"{url}/dashboard#900")
    page.fill("#prompt", SHOWN)
    page.locator("#knob").fill("88")
    expect(page.locator("#ranking li.chosen")).to_be_visible()
    page.wait_for_timeout(1000)
    page.click("#send")
    expect(page.locator("#answer .note").first).to_contain_text("tokens", timeout=60_000)
    page.wait_for_timeout(1500)
    page.screenshot(path=str(path), full_page=True, animations="disabled")


def main() -> None:
    """Take the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--questions", type=int, default=400)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--dark", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        with gateway(where, ledger={"url": str(where / "ledger.db")}) as url, chromium() as browser:
            traffic(url, given.questions, 60 * given.minutes)
            size = {"width": given.width, "height": 900}
            scheme = "dark" if given.dark else "light"
            page = browser.new_page(viewport=size, color_scheme=scheme, device_scale_factor=1)  # type: ignore[arg-type]
            take(page, url, given.path)


if __name__ == "__main__":
    main()
