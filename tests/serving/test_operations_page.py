"""The page of operations runs: its commands, its sections of the pool file, several gateways as it says."""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from eval.benchmarks.gateway.rig.pool import write_pool
from eval.benchmarks.gateway.rig.processes import cores, foresight, free_port, python, running
from serving.keys.file import write_keys
from serving.keys.key import Key, KeyRing, hashed, new_secret
from serving.settings import GatewaySettings, KeySettings, LedgerSettings
from tests.serving.conftest import gateway_over
from tests.serving.ledger.postgres import PostgresServer
from tests.serving.tracing.receiver import Receiver, receiver
from tests.serving.upstream import answers, upstream
from tests.test_docs import blocks, commands, run

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
UPSTREAM = ROOT / "eval" / "benchmarks" / "gateway" / "rig" / "upstream.py"
CHAT = {"model": "auto", "messages": [{"role": "user", "content": "easy"}]}


def section() -> dict[str, Any]:
    """All that the page shows below `serve:`."""
    return {
        name: value
        for block in blocks("yaml", PAGE)
        for name, value in yaml.safe_load(block)["serve"].items()
    }


def status(url: str, key: str | None = None, body: Any = None) -> int:
    """Of one request; a key is given as a browser gives a password."""
    headers = {"content-type": "application/json"}
    if key is not None:
        headers["authorization"] = "Basic " + base64.b64encode(f"me:{key}".encode()).decode()
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_pictures_and_pages_that_are_named_exist() -> None:
    for line in PAGE.splitlines():
        for _, _, rest in (part.partition("](") for part in line.split("[")[1:]):
            if path := rest.partition(")")[0]:
                assert (ROOT / "docs" / path).exists(), path


async def test_a_gateway_runs_as_the_page_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "page")
    async with receiver() as ear:
        await asyncio.to_thread(served, tmp_path, ear)
    assert ear.resource["service.name"] == "page"
    names = {span.name for span in ear.spans}
    shown = [line.split("|")[1].strip().strip("`") for line in PAGE.splitlines() if line.startswith("| `")]
    assert names <= {name.replace("MODEL", "m") for name in shown}
    assert {"POST /v1/chat/completions", "decide", "chat m"} <= names


def served(folder: Path, ear: Receiver) -> None:
    """Make a key, start a gateway, and see who may look at what."""
    create, serve, shared = commands(PAGE)
    assert serve[:3] == shared[:3]
    boss = run(create, folder).split()[-1]
    settings = section()
    settings["tracing"]["endpoint"] = ear.url
    port, behind = free_port(), free_port()
    own, others = cores()
    with running(python(UPSTREAM, behind), behind, log=folder / "up.log", cores=others) as backend:
        pool, router = write_pool(folder, backend.url, {**settings, "port": port})
        options = [str(folder / "ledger.db") if word == "ledger.db" else word for word in serve[3:]]
        words = foresight("serve", str(pool), "--router", str(router), *options, "--scout-mode", "none")
        with running(words, port, log=folder / "serve.log", cores=own, ready="/ready"):
            root = f"http://127.0.0.1:{port}"
            for path in ("/dashboard", "/dashboard/api/overview", "/metrics"):
                assert (status(root + path), status(root + path, boss)) == (401, 200)
            assert status(f"{root}/v1/chat/completions", boss, CHAT) == 200


async def test_two_gateways_share_history_feedback_and_budgets_through_postgresql(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    secret = new_secret("boss")
    key = Key(id="boss", sha256=hashed(secret), operator=True, usd_per_day=2e-5)
    write_keys(tmp_path / "keys.yaml", KeyRing(keys=(key,)))
    shared = {
        "ledger": LedgerSettings(url=postgres.url, flush_s=0.01),
        "keys": KeySettings(file=Path("keys.yaml"), refresh_s=0.05),
        "folder": tmp_path,
    }
    login = {"authorization": f"Bearer {secret}"}
    async with (
        upstream(answers()) as server,
        gateway_over(server.url, **shared) as first,
        gateway_over(server.url, **shared) as second,
        aiohttp.ClientSession(headers=login) as http,
    ):
        ids = []
        for _ in range(2):  # 11 millionths of a dollar each
            async with http.post(f"{first}/chat/completions", json=CHAT) as answer:
                assert answer.status == 200
                ids.append(answer.headers["x-foresight-decision-id"])
        async with asyncio.timeout(20):
            while True:
                async with http.post(f"{second}/chat/completions", json=CHAT) as answer:
                    if answer.status == 429:
                        break
                await asyncio.sleep(0.1)
        async with http.post(f"{second}/feedback", json={"decision_id": ids[0], "correct": 1}) as answer:
            assert answer.status == 200
        root = second.removesuffix("/v1")
        async with http.get(f"{root}/dashboard/api/decisions?limit=200") as answer:
            found = {one["id"]: one["correct"] for one in (await answer.json())["decisions"]}
        assert {one: found[one] for one in ids} == {ids[0]: 1.0, ids[1]: None}


def test_the_page_lists_the_settings_as_they_are() -> None:
    settings = GatewaySettings.of_section(section(), ROOT)
    assert settings.keys is not None
    assert settings.keys.protect_dashboard is KeySettings(env="X").protect_dashboard is True
    assert f"`refresh_s` ({settings.keys.refresh_s:g} s)" in PAGE
