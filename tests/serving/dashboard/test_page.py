"""The page in a real browser, over a real gateway with a real router."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from serving.keys.file import write_keys
from serving.keys.key import Key, KeyRing, hashed, new_secret
from serving.run import background_gateway
from serving.settings import GatewaySettings, KeySettings, LedgerSettings
from tests.serving.dashboard.stand import post
from tests.serving.routing import pool_of, router_of

pytestmark = pytest.mark.timeout(180)
SUM, PRODUCT = "What is 17 + 25?", "What is 8 * 9 + 46 - 5?"
CHAT = {"model": "auto", "messages": [{"role": "user", "content": SUM}]}
POOL = ["ladder-s", "ladder-s:think", "ladder-m", "ladder-m:think", "ladder-l", "ladder-l:think"]
HOSTILE = '"><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'


@contextmanager
def opened(browser: Browser, url: str, **context: Any) -> Iterator[Page]:
    """The dashboard; fails on console errors, exceptions and requests to anybody else."""
    found = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
    page = found.new_page()
    wrong: list[str] = []
    page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda asked: None if asked.url.startswith(url) else wrong.append(asked.url))
    try:
        page.goto(f"{url}/dashboard")
        expect(page.locator("#status-text")).to_contain_text("backends up")
        yield page
        assert wrong == []
    finally:
        found.close()


def chosen(page: Page) -> str:
    """The candidate that the playground marks."""
    return str(page.locator("#ranking li.chosen").get_attribute("data-candidate"))


def decided(page: Page, act: Callable[[], object]) -> str:
    """The candidate that is marked once the gateway has answered what an act asks."""
    with page.expect_response(lambda answer: answer.url.endswith("/v1/route")) as info:
        act()
    name = info.value.json()["candidate"]
    expect(page.locator("#ranking li.chosen")).to_have_attribute("data-candidate", name)
    return str(name)


def turn(page: Page, value: int) -> None:
    """Move the knob as a hand would: the page hears `input`."""
    page.locator("#knob").fill(str(value))


def test_moving_the_knob_moves_the_choice_before_anything_is_generated(
    browser: Browser, ladder_url: str
) -> None:
    with opened(browser, ladder_url) as page:
        decided(page, lambda: page.fill("#prompt", SUM))
        names = [row.get_attribute("data-candidate") for row in page.locator("#ranking li").all()]
        assert names == POOL
        bars = page.locator("#ranking .chance").all_inner_texts()
        assert all(re.fullmatch(r"\d+%", text) for text in bars)
        strip = {
            at: piece.get_attribute("data-candidate")
            for piece in page.locator("#strip i").all()
            for at in [int(piece.evaluate("e => e.offsetLeft"))]
        }
        found = {value: decided(page, lambda value=value: turn(page, value)) for value in (0, 60, 100)}
        assert found[0] == "ladder-s"
        assert found[100] != found[0]
        assert next(iter(strip.values())) == found[0]
        assert list(strip.values())[-1] == found[100]
        assert page.locator("#answer").is_hidden()


def test_the_strip_below_the_knob_is_the_gateways_own_rule(browser: Browser, ladder_url: str) -> None:
    with opened(browser, ladder_url) as page:
        decided(page, lambda: page.fill("#prompt", PRODUCT))
        pieces = page.locator("#strip i").all()
        lengths = [int(piece.get_attribute("data-length") or 0) for piece in pieces]
        assert sum(lengths) == 101
        begin = 0
        for piece, length in zip(pieces, lengths, strict=True):
            middle = begin + length // 2
            asked = {"prompt": PRODUCT, "foresight": {"quality": middle / 100}}
            assert post(ladder_url, "/v1/route", asked)["candidate"] == piece.get_attribute("data-candidate")
            begin += length


def test_a_named_policy_takes_the_place_of_the_knob(browser: Browser, ladder_url: str) -> None:
    with opened(browser, ladder_url) as page:
        decided(page, lambda: page.fill("#prompt", SUM))
        decided(page, lambda: page.select_option("#rule", "auto:careful"))
        assert page.locator("#knob-part").is_hidden()
        expect(page.locator("#reason")).to_contain_text("0.90")


def test_a_sent_prompt_streams_its_answer_and_becomes_a_decision_that_opens(
    browser: Browser, ladder_url: str
) -> None:
    with opened(browser, ladder_url) as page:
        name = decided(page, lambda: page.fill("#prompt", SUM))
        page.click("#send")
        expect(page.locator("#answer .note").first).to_contain_text("tokens", timeout=30_000)
        assert page.locator("#answer pre").inner_text()
        expect(page.locator("#answer .note").first).to_contain_text(name)
        page.get_by_role("button", name="Right").click()
        expect(page.locator("#answer")).to_contain_text("in the ledger")
        first = page.locator("#decisions tr.row").first
        expect(first).to_contain_text("rated 100%", timeout=15_000)
        first.get_by_role("button").press("Enter")
        inside = page.locator("#decisions tr.detail:visible")
        expect(inside.locator("tbody tr")).to_have_count(6)
        expect(inside).to_contain_text("answered")
        expect(page.locator("#reliability svg")).to_be_visible(timeout=15_000)
        expect(page.locator("#requests .big")).not_to_have_text("0", timeout=15_000)


def test_what_clients_write_stays_text(browser: Browser, ladder_url: str) -> None:
    asked = {"model": "auto", "messages": [{"role": "user", "content": HOSTILE}]}
    told = post(ladder_url, "/v1/chat/completions", {**asked, "foresight": {"explain": True}})
    rating = {"decision_id": told["foresight"]["id"], "correct": 0, "comment": HOSTILE}
    post(ladder_url, "/v1/feedback", rating)
    with opened(browser, ladder_url) as page:
        row = page.locator(f'button[data-decision="{told["foresight"]["id"]}"]')
        row.click()
        inside = page.locator("#decisions tr.detail:visible")
        expect(inside.locator("pre")).to_have_text(f"user: {HOSTILE}")
        expect(inside).to_contain_text(HOSTILE)
        decided(page, lambda: page.fill("#prompt", HOSTILE))
        assert page.locator("main img").count() == 0
        assert page.evaluate("window.hacked") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_without_scrolling_sideways(
    browser: Browser, ladder_url: str, scheme: Any
) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "color_scheme": scheme, "has_touch": True}
    told = post(ladder_url, "/v1/chat/completions", {**CHAT, "foresight": {"explain": True}})
    post(ladder_url, "/v1/feedback", {"decision_id": told["foresight"]["id"], "correct": 1})
    with opened(browser, ladder_url, **phone) as page:
        decided(page, lambda: page.fill("#prompt", SUM))
        page.locator(f'button[data-decision="{told["foresight"]["id"]}"]').click()
        expect(page.locator("#traffic tbody tr").first).to_be_visible(timeout=15_000)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide == 0
        back = page.evaluate("getComputedStyle(document.body).backgroundColor")
        dark = sum(int(part) for part in re.findall(r"\d+", back)[:3]) < 3 * 128
        assert dark == (scheme == "dark")


def test_the_keyboard_alone_is_enough(browser: Browser, ladder_url: str) -> None:
    with opened(browser, ladder_url) as page:
        decided(page, lambda: page.fill("#prompt", SUM))
        page.locator("#knob").focus()
        turned = decided(page, lambda: page.keyboard.press("Home"))
        assert turned == chosen(page) == "ladder-s"
        page.locator("#prompt").focus()
        page.keyboard.press("Control+Enter")
        expect(page.locator("#answer .note").first).to_contain_text("ladder-s", timeout=30_000)


def test_a_gateway_that_goes_away_is_told_and_the_figures_stay(browser: Browser, tmp_path: Path) -> None:
    with far_gateway(tmp_path) as url:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{url}/dashboard")
        expect(page.locator("#status-text")).to_have_text("0 of 1 backends up")
        expect(page.locator("#decisions")).to_contain_text("No decision yet")
    page.evaluate("document.dispatchEvent(new Event('answered'))")
    expect(page.locator("#problem")).to_contain_text("cannot be reached")
    expect(page.locator("#backends")).to_contain_text("far")
    context.close()


def test_without_ledger_and_scout_the_page_says_so(browser: Browser, tmp_path: Path) -> None:
    with far_gateway(tmp_path, ledger=None, scout_mode="none") as url, opened(browser, url) as page:
        expect(page.locator("#status-text")).to_have_text("0 of 1 backends up, scout off")
        expect(page.locator("#saving")).to_contain_text("keeps no ledger")
        decided(page, lambda: page.fill("#prompt", "hard"))
        expect(page.locator("#reason")).to_contain_text("switched off")
        expect(page.locator("#prompts-note")).to_contain_text("not logged")


def test_a_backend_that_is_away_is_an_error_in_its_place(browser: Browser, tmp_path: Path) -> None:
    with far_gateway(tmp_path) as url:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{url}/dashboard")
        decided(page, lambda: page.fill("#prompt", "easy"))
        page.click("#send")
        expect(page.locator("#answer.failed")).to_contain_text("cannot be reached", timeout=15_000)
        context.close()


def test_only_an_operators_key_opens_the_page_and_its_figures(browser: Browser, tmp_path: Path) -> None:
    secrets = {name: new_secret(name) for name in ("boss", "team")}
    keys = [Key(id=name, sha256=hashed(secrets[name]), operator=name == "boss") for name in secrets]
    write_keys(tmp_path / "keys.yaml", KeyRing(keys=tuple(keys)))
    with far_gateway(tmp_path, keys=KeySettings(file=Path("keys.yaml"))) as url:
        for name, status in (("nobody", 401), ("team", 403), ("boss", 200)):
            login = {"username": "x", "password": secrets.get(name, "wrong")}
            context = browser.new_context(http_credentials=login)  # type: ignore[arg-type]
            page = context.new_page()
            answer = page.goto(f"{url}/dashboard")
            assert answer is not None
            assert answer.status == status
            if name == "boss":
                expect(page.locator("#status-text")).to_contain_text("0 of 1")
                decided(page, lambda page=page: page.fill("#prompt", "easy"))
            context.close()


def test_an_open_page_asks_for_the_key_that_the_playground_needs(browser: Browser, tmp_path: Path) -> None:
    secret = new_secret("boss")
    ring = KeyRing(keys=(Key(id="boss", sha256=hashed(secret), operator=True),))
    write_keys(tmp_path / "keys.yaml", ring)
    settings = KeySettings(file=Path("keys.yaml"), protect_dashboard=False)
    with far_gateway(tmp_path, keys=settings) as url:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{url}/dashboard")
        page.fill("#prompt", "easy")
        expect(page.locator("#reason")).to_contain_text("No API key was given")
        page.fill("#key", secret)
        decided(page, lambda: page.press("#key", "Enter"))
        assert page.locator("#key-form").is_hidden()
        context.close()


@contextmanager
def far_gateway(folder: Path, **settings: Any) -> Iterator[str]:
    """A gateway in this process whose one backend is away."""
    pool = pool_of({"far": {"kind": "openai", "url": "http://127.0.0.1:9/v1"}}, {"small": {"backend": "far"}})
    given = {"ledger": LedgerSettings(url="ledger.db", flush_s=0.01), "retries": 0, **settings}
    chosen_settings = GatewaySettings(port=0, drain_s=1, folder=folder, **given)
    with background_gateway(pool, router_of(pool), settings=chosen_settings) as url:
        yield url.removesuffix("/v1")
