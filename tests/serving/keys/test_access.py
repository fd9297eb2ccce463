"""Keys over HTTP: who gets in, what they may ask, and what it costs them; with the official client, too."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from probes.errors import ConfigError, UsageError
from serving.assemble import make_gateway
from serving.keys.file import write_keys
from serving.keys.key import Key, KeyRing, hashed, new_secret
from serving.ledger.database import open_ledger
from serving.ledger.reading import money
from serving.ledger.reading.window import Window
from serving.run import running_gateway
from serving.settings import GatewaySettings, KeySettings, LedgerSettings
from tests.serving.routing import pool_of, router_of
from tests.serving.upstream import Behaviour, answers, chunk, hangs, upstream

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "easy"}]}
Http = aiohttp.ClientSession


class Gate:
    """A gateway with keys, and requests to it."""

    def __init__(self, url: str, http: Http, secrets: dict[str, str], folder: Path) -> None:
        self.url = url
        self.root = url.removesuffix("/v1")
        self.http = http
        self.secrets = secrets
        self.folder = folder

    async def ask(self, name: str | None, path: str = "/v1/chat/completions", **fields: Any) -> Any:
        """Status, headers and JSON of one request with this key; GET where there are no fields."""
        header = {} if name is None else {"authorization": f"Bearer {self.secrets.get(name, name)}"}
        method = "POST" if fields or path.endswith("completions") else "GET"
        body = {**CHAT, **fields} if path.endswith("completions") else fields or None
        async with self.http.request(method, self.root + path, json=body, headers=header) as response:
            json_like = "json" in response.headers.get("content-type", "")
            content = await response.json() if json_like else await response.text()
            return response.status, response.headers, content


@asynccontextmanager
async def gate(
    folder: Path,
    behaviour: Behaviour | None = None,
    keys: dict[str, dict[str, Any]] | None = None,
    **more: Any,
) -> AsyncIterator[Gate]:
    names = {"team": {}} if keys is None else keys
    secrets = {name: new_secret(name) for name in names}
    ring = [
        Key.model_validate({"id": n, "sha256": hashed(secrets[n]), **limits}) for n, limits in names.items()
    ]
    write_keys(folder / "keys.yaml", KeyRing(keys=tuple(ring)))
    chosen = {"file": "keys.yaml", "refresh_s": 0.05, **more}
    settings = GatewaySettings(
        port=0,
        drain_s=1,
        folder=folder,
        ledger=LedgerSettings(url="ledger.db", flush_s=0.01),
        keys=KeySettings.model_validate(chosen),
    )
    async with upstream(behaviour or answers()) as server, Http() as http:
        backends = {"far": {"kind": "openai", "url": server.url}}
        pool = pool_of(backends, {"small": {"backend": "far"}, "large": {"backend": "far"}})
        async with running_gateway(pool, router_of(pool), settings=settings) as url:
            yield Gate(url, http, secrets, folder)


def error_of(content: Any) -> tuple[str, str]:
    assert set(content["error"]) == {"message", "type", "param", "code"}
    return content["error"]["type"], content["error"]["code"]


async def test_who_has_no_key_gets_401_in_openais_shape(tmp_path: Path) -> None:
    async with gate(tmp_path) as door:
        for name, code in ((None, "missing_api_key"), ("fsk_team_" + "0" * 64, "invalid_api_key")):
            for path in ("/v1/chat/completions", "/v1/models", "/openapi.json", "/nothing"):
                status, headers, content = await door.ask(name, path)
                assert (status, headers["www-authenticate"]) == (401, "Bearer")
                assert error_of(content) == ("invalid_request_error", code)
                assert headers["x-request-id"]
        assert (await door.ask("team"))[0] == 200
        assert (await door.ask("team", "/v1/models"))[0] == 200
        assert (await door.ask(None, "/health"))[0] == (await door.ask(None, "/ready"))[0] == 200
        async with openai.AsyncOpenAI(base_url=door.url, api_key=door.secrets["team"]) as client:
            answer = await client.chat.completions.create(**CHAT)  # type: ignore[call-overload]
            assert answer.choices[0].message.content == "four"
        async with openai.AsyncOpenAI(base_url=door.url, api_key="wrong") as client:
            with pytest.raises(openai.AuthenticationError):
                await client.models.list()


async def test_metrics_and_dashboard_need_an_operator(tmp_path: Path) -> None:
    keys = {"team": {}, "boss": {"operator": True}}
    async with gate(tmp_path, keys=keys, protect_metrics=True) as door:
        assert [(await door.ask(name, "/metrics"))[0] for name in (None, "team", "boss")] == [401, 403, 200]
        status, headers, _ = await door.ask(None, "/dashboard/x")
        assert (status, headers["www-authenticate"]) == (401, 'Basic realm="Foresight"')
        auth = "Basic " + base64.b64encode(f"anybody:{door.secrets['boss']}".encode()).decode()
        async with door.http.get(f"{door.root}/metrics", headers={"authorization": auth}) as response:
            assert response.status == 200
    async with gate(tmp_path, keys=keys) as door:
        assert (await door.ask(None, "/metrics"))[0] == 200


async def test_only_allowed_candidates_answer(tmp_path: Path) -> None:
    async with gate(tmp_path, keys={"team": {"candidates": ["large"]}}) as door:
        status, headers, _ = await door.ask("team")
        assert (status, headers["x-foresight-candidate"]) == (200, "large")
        status, _, content = await door.ask("team", model="small")
        assert status == 403
        assert error_of(content) == ("permission_error", "candidate_not_allowed")
        assert content["error"]["param"] == "model"


async def test_rates_hold_per_key(tmp_path: Path) -> None:
    keys = {"slow": {"requests_per_minute": 1, "burst": 2}, "free": {}}
    async with gate(tmp_path, keys=keys) as door:
        assert [(await door.ask("slow"))[0] for _ in range(2)] == [200, 200]
        status, headers, content = await door.ask("slow")
        assert status == 429
        assert error_of(content) == ("rate_limit_error", "rate_limit_exceeded")
        assert 0 < int(headers["retry-after"]) <= 60
        assert (await door.ask("free"))[0] == 200
        assert (await door.ask("slow", "/v1/models"))[0] == 200  # reading costs nothing


async def test_streams_at_once_are_limited_and_end_when_the_client_leaves(tmp_path: Path) -> None:
    async with gate(tmp_path, hangs(chunk("fo")), {"team": {"max_parallel": 1}}) as door:
        header = {"authorization": f"Bearer {door.secrets['team']}"}
        body = {**CHAT, "stream": True}
        stream = await door.http.post(f"{door.url}/chat/completions", json=body, headers=header)
        assert (await door.ask("team"))[0] == 429
        stream.close()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            again = await door.http.post(f"{door.url}/chat/completions", json=body, headers=header)
            again.close()
            if again.status == 200:
                return
            await asyncio.sleep(0.05)
        pytest.fail("the stream is still counted")


async def test_a_body_beyond_the_keys_limit_is_413(tmp_path: Path) -> None:
    async with gate(tmp_path, keys={"team": {"max_body_bytes": 100}}) as door:
        status, _, content = await door.ask("team", user="x" * 100)
        assert status == 413
        assert content["error"]["code"] == "request_too_large"


async def test_a_budget_outlives_the_gateway_and_is_shared_through_the_ledger(tmp_path: Path) -> None:
    one_answer_usd = (7 * 1.0 + 2 * 2.0) / 1e6
    keys = {"team": {"usd_per_day": 1.5 * one_answer_usd}}
    async with gate(tmp_path, keys=keys) as first:
        assert (await first.ask("team"))[0] == 200
        assert (await first.ask("team"))[0] == 200  # half of a budget buys a whole answer
        status, headers, content = await first.ask("team")
        assert status == 429
        assert error_of(content) == ("rate_limit_error", "insufficient_quota")
        assert 0 < int(headers["retry-after"]) <= 86_400
        assert headers["x-should-retry"] == "false"
        assert (await first.ask("team", "/v1/route", prompt="easy"))[0] == 200
    async with gate(tmp_path, keys=keys) as second:
        assert (await second.ask("team"))[0] == 429
    database = open_ledger(str(tmp_path / "ledger.db"))
    totals = money.totals(database, Window(0, 4e9))
    database.close()
    assert (totals.requests, totals.decisions) == (2, 3)
    assert totals.spend_usd == pytest.approx(2 * one_answer_usd)


async def test_a_revoked_key_stops_working_while_the_gateway_runs(tmp_path: Path) -> None:
    async with gate(tmp_path) as door:
        assert (await door.ask("team"))[0] == 200
        write_keys(tmp_path / "keys.yaml", KeyRing())
        deadline = time.monotonic() + 10
        while (await door.ask("team"))[0] == 200:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert (await door.ask("team"))[0] == 401


@pytest.mark.parametrize(
    ("limits", "error"),
    [({"usd_per_day": 1.0}, ConfigError), ({"candidates": ["smal"]}, UsageError)],
)
def test_a_limit_that_cannot_hold_is_refused_at_the_start(
    tmp_path: Path, limits: dict[str, Any], error: type[Exception]
) -> None:
    ring = KeyRing(keys=(Key.model_validate({"id": "team", "sha256": "0" * 64, **limits}),))
    write_keys(tmp_path / "keys.yaml", ring)
    pool = pool_of({"far": {"kind": "openai", "url": "http://127.0.0.1:9/v1"}}, {"small": {"backend": "far"}})
    settings = GatewaySettings(folder=tmp_path, keys=KeySettings(file=Path("keys.yaml")))
    with pytest.raises(error):
        make_gateway(pool, router_of(pool), settings=settings)
