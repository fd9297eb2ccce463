"""The dashboard's paths without a browser: headers, figures, errors."""

from __future__ import annotations

import base64
import re
import sqlite3
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from serving.dashboard.pages import STATIC
from serving.keys.file import write_keys
from serving.keys.key import Key, KeyRing, hashed, new_secret
from serving.settings import KeySettings, LedgerSettings
from tests.serving.conftest import behind
from tests.serving.upstream import answers

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "easy"}]}
FILES = sorted(path.name for path in STATIC.iterdir())


def kept(folder: Path) -> dict[str, Any]:
    return {"ledger": LedgerSettings(url="ledger.db", flush_s=0.01), "folder": folder}


async def get(http: aiohttp.ClientSession, url: str, path: str, **more: Any) -> Any:
    """Status, headers and content; JSON where it is."""
    async with http.get(url.removesuffix("/v1") + path, **more) as answer:
        is_json = "json" in answer.headers.get("content-type", "")
        return answer.status, answer.headers, await answer.json() if is_json else await answer.text()


@pytest.mark.parametrize("name", FILES)
def test_the_pages_hold_nothing_of_others_and_no_markup_from_text(name: str) -> None:
    text = (STATIC / name).read_text(encoding="utf-8")
    hosts = set(re.findall(r"(?:https?:)?//([\w.-]+\.[a-z]{2,})", text))
    assert hosts <= {"www.w3.org"}
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|style=|onclick=", text
    )
    for path in re.findall(r'"/dashboard/([\w.-]+)"', text):
        assert path in FILES


async def test_every_file_comes_with_headers_that_keep_others_out(http: aiohttp.ClientSession) -> None:
    async with behind(answers()) as (url, _):
        for path in ["/dashboard", *(f"/dashboard/{name}" for name in FILES)]:
            status, headers, _ = await get(http, url, path)
            assert status == 200
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "*" not in policy
            again, _, text = await get(http, url, path, headers={"if-none-match": headers["etag"]})
            assert (again, text) == (304, "")
        for path in ("/dashboard/..%2fpages.py", "/dashboard/pages.py", "/dashboard/static", "/dashboard/"):
            assert (await get(http, url, path))[0] == 404


async def test_figures_say_what_was_answered_and_by_whom(http: aiohttp.ClientSession, tmp_path: Path) -> None:
    async with behind(answers(), answers(), **kept(tmp_path)) as (url, *_):
        for _ in range(3):
            async with http.post(f"{url}/chat/completions", json=CHAT) as answer:
                assert answer.status == 200
        async with http.post(f"{url}/route", json={"prompt": "easy"}) as answer:
            assert answer.status == 200
        found = await until_answered(http, url, 3)
        told = found["history"]
        assert told["totals"]["ok"] == 3
        assert [(row["candidate"], row["requests"]) for row in told["traffic"]] == [("small", 3)]
        assert told["saving"]["reference"] == "large"
        # `small`: 7 tokens read at 1, 2 written at 2; `large`: 1 read at 10, 8 to be written at 20
        assert told["saving"]["share"] == pytest.approx(1 - 11 / 170)
        assert found["status"]["backends"]["at-small"]["breaker"] == "closed"
        assert found["ledger"] == {"kept": True, "prompts": False, "problem": None, "keep_days": 90.0}
        _, _, every = await get(http, url, "/dashboard/api/decisions")
        _, _, answered = await get(http, url, "/dashboard/api/decisions?answered=true")
        _, _, newest = await get(http, url, "/dashboard/api/decisions?limit=1")
        assert [len(one["decisions"]) for one in (every, answered, newest)] == [4, 3, 1]
        assert answered["decisions"][0]["predicted"]["ranking"] == ["small", "large"]
        assert answered["decisions"][0]["prompt"] is None


async def until_answered(http: aiohttp.ClientSession, url: str, n: int) -> Any:
    """The overview of a window that nobody asked for yet, so that no kept answer is given."""
    for length_s in range(3600, 3700):
        _, _, found = await get(http, url, f"/dashboard/api/overview?seconds={length_s}")
        if found["history"]["totals"]["ok"] == n:
            return found
    raise AssertionError(found)


@pytest.mark.parametrize("asked", ["seconds=0", "seconds=x", "seconds=nan", "seconds=1e99", "seconds=-5"])
async def test_a_time_that_is_none_is_a_400(http: aiohttp.ClientSession, asked: str) -> None:
    async with behind(answers()) as (url, _):
        status, _, content = await get(http, url, f"/dashboard/api/overview?{asked}")
        assert (status, content["error"]["param"]) == (400, "seconds")


async def test_a_ledger_that_breaks_leaves_the_rest_of_the_page(
    http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with behind(answers(), **kept(tmp_path)) as (url, _):
        with sqlite3.connect(tmp_path / "ledger.db") as database:
            database.execute("DROP TABLE exchanges")
        database.close()
        status, _, found = await get(http, url, "/dashboard/api/overview")
        assert (status, found["history"]) == (200, None)
        assert "does not answer" in found["ledger"]["problem"]
        assert found["candidates"][0]["name"] == "small"
        status, _, content = await get(http, url, "/dashboard/api/decisions")
        assert (status, content["error"]["code"]) == (503, "ledger_unavailable")


async def test_another_sites_page_cannot_use_a_browsers_stored_password(
    http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    secret = new_secret("boss")
    write_keys(tmp_path / "keys.yaml", KeyRing(keys=(Key(id="boss", sha256=hashed(secret), operator=True),)))
    keys = KeySettings(file=Path("keys.yaml"))
    login = {"authorization": "Basic " + base64.b64encode(f"x:{secret}".encode()).decode()}
    async with behind(answers(), keys=keys, folder=tmp_path) as (url, _):
        for site, expected in (("same-origin", 200), ("none", 200), ("cross-site", 401), ("same-site", 401)):
            headers = {**login, "sec-fetch-site": site}
            assert (await get(http, url, "/dashboard", headers=headers))[0] == expected
            async with http.post(f"{url}/chat/completions", json=CHAT, headers=headers) as answer:
                assert answer.status == expected
