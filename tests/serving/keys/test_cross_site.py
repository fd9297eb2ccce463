"""A page of another site that makes a visitor's browser ask: refused where no key protects the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.keys.site import Site, site
from tests.serving.conftest import behind
from tests.serving.keys.test_access import CHAT, gate
from tests.serving.upstream import answers

ASKED = [
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/responses"),
    ("POST", "/v1/route"),
    ("POST", "/v1/feedback"),
    ("POST", "/v1/files"),
    ("DELETE", "/v1/files/file-1"),
    ("PUT", "/v1/nowhere"),
]


@pytest.mark.parametrize(("method", "path"), ASKED)
async def test_another_sites_page_can_change_nothing(
    method: str, path: str, http: aiohttp.ClientSession
) -> None:
    async with behind(answers()) as (url, server):
        foreign = {"sec-fetch-site": "cross-site", "origin": "https://elsewhere.example"}
        root = url.removesuffix("/v1")
        async with http.request(method, root + path, json=CHAT, headers=foreign) as response:
            assert response.status == 403
            error = (await response.json())["error"]
            assert response.headers["x-request-id"]
        assert (error["type"], error["code"]) == ("permission_error", "cross_site_request")
        assert not server.bodies


@pytest.mark.parametrize("site", [None, "none", "same-origin", "same-site"])
async def test_programs_and_own_pages_are_answered(site: str | None, http: aiohttp.ClientSession) -> None:
    async with behind(answers()) as (url, _):
        headers = {} if site is None else {"sec-fetch-site": site}
        async with http.post(f"{url}/chat/completions", json=CHAT, headers=headers) as response:
            assert response.status == 200


@pytest.mark.parametrize(
    ("origin", "forwarded", "status"),
    [
        ("http://elsewhere.example", None, 403),
        ("null", None, 403),
        ("http://[", None, 403),
        ("http://{host}", None, 200),
        ("http://{name}:1", None, 200),
        ("https://chat.example", "chat.example", 200),
    ],
)
async def test_without_fetch_metadata_the_origin_decides(
    origin: str, forwarded: str | None, status: int, http: aiohttp.ClientSession
) -> None:
    """Browsers send no `Sec-Fetch-Site` to a plain-http host that is not their own machine."""
    async with behind(answers()) as (url, _):
        host = urlsplit(url).netloc
        headers = {"origin": origin.format(host=host, name=host.partition(":")[0])}
        headers |= {} if forwarded is None else {"x-forwarded-host": forwarded}
        async with http.post(f"{url}/chat/completions", json=CHAT, headers=headers) as response:
            assert response.status == status


@given(name=st.sampled_from(["sec-fetch-site", "origin", "host", "x-forwarded-host"]), value=st.binary())
def test_whatever_stands_in_a_header_is_some_site(name: str, value: bytes) -> None:
    headers = [(b"origin", b"http://a"), (b"host", b"b"), (name.encode(), value)]
    assert site({"type": "http", "headers": headers}) in get_args(Site)


async def test_looking_is_allowed_from_everywhere(http: aiohttp.ClientSession) -> None:
    """A link to the dashboard on another page is a cross-site GET."""
    async with behind(answers()) as (url, _):
        foreign = {"sec-fetch-site": "cross-site"}
        for path in ("/v1/models", "/dashboard", "/health"):
            async with http.get(url.removesuffix("/v1") + path, headers=foreign) as response:
                assert response.status == 200, path


async def test_with_keys_the_bearers_key_decides(tmp_path: Path) -> None:
    async with gate(tmp_path) as over:
        foreign = {"sec-fetch-site": "cross-site"}
        for name, status in (("team", 200), ("nobody", 401)):
            headers = {**foreign, "authorization": f"Bearer {over.secrets.get(name, name)}"}
            async with over.http.post(f"{over.url}/chat/completions", json=CHAT, headers=headers) as response:
                assert response.status == status
