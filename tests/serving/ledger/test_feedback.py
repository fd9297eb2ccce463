"""Feedback over HTTP, and what a gateway wrote down of what its clients saw."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from serving.http.sse import DONE
from serving.ledger.database import open_ledger
from serving.ledger.reading import decisions, money
from serving.ledger.reading.window import Window
from serving.run import running_gateway
from serving.settings import GatewaySettings, LedgerSettings
from tests.serving.routing import pool_of, router_of
from tests.serving.upstream import Behaviour, answers, chunk, cuts, streams, upstream

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "easy secret"}]}
ALL = Window(0, 4e9)
Http = aiohttp.ClientSession


@asynccontextmanager
async def gateway(folder: Path, *behaviours: Behaviour, **ledger: Any) -> AsyncIterator[tuple[str, Http]]:
    """A gateway with a ledger before upstreams that behave like this."""
    chosen = LedgerSettings.model_validate({"url": "ledger.db", "flush_s": 0.01, **ledger})
    settings = GatewaySettings(port=0, drain_s=1, folder=folder, ledger=chosen, retries=0)
    names = ("small", "large")[: len(behaviours)]
    async with Http() as http, upstream(behaviours[0]) as first, upstream(behaviours[-1]) as second:
        backends = {
            "small": {"kind": "openai", "url": first.url},
            "large": {"kind": "openai", "url": second.url},
        }
        pool = pool_of({n: backends[n] for n in names}, {name: {"backend": name} for name in names})
        async with running_gateway(pool, router_of(pool), settings=settings) as url:
            yield url, http


async def post(http: Http, url: str, path: str, body: Any) -> tuple[int, Any, Any]:
    async with http.post(f"{url}/{path}", json=body) as response:
        raw = await response.read()
        return response.status, response.headers, await response.json() if raw[:1] == b"{" else raw


async def test_feedback_is_joined_to_its_decision(tmp_path: Path) -> None:
    async with gateway(tmp_path, answers()) as (url, http):
        _, headers, _ = await post(http, url, "chat/completions", CHAT)
        name = headers["x-foresight-decision-id"]
        body = {"decision_id": name, "correct": 1, "comment": "good \0"}
        for _ in range(2):  # saying it twice changes nothing
            status, _, told = await post(http, url, "feedback", body)
            assert (status, told["object"], told["correct"]) == (200, "foresight.feedback", 1.0)
        row = on_disk(tmp_path, name)  # the gateway still runs
        assert (row.correct, row.comment, row.finish) == (1.0, "good ", "ok")
        assert (await post(http, url, "feedback", {**body, "correct": False}))[0] == 200
        assert on_disk(tmp_path, name).correct == 0.0


@pytest.mark.parametrize(
    ("change", "status", "param", "code"),
    [
        ({"decision_id": "dec-unknown"}, 404, "decision_id", "decision_not_found"),
        ({"decision_id": ""}, 400, "decision_id", "invalid_value"),
        ({"decision_id": None}, 400, "decision_id", "invalid_value"),
        ({"correct": 1.01}, 400, "correct", "invalid_value"),
        ({"correct": -1}, 400, "correct", "invalid_value"),
        ({"correct": 10**400}, 400, None, None),
        ({"correct": None}, 400, None, "invalid_value"),
        ({"correct": "yes"}, 400, None, "invalid_value"),
        ({"comment": 3}, 400, "comment", "invalid_value"),
        ({"comment": "x" * 10_001}, 400, "comment", "invalid_value"),
        ({"corect": 1}, 400, "corect", "invalid_value"),
    ],
)
async def test_bad_feedback_names_the_field(
    tmp_path: Path, change: dict[str, Any], status: int, param: str | None, code: str | None
) -> None:
    async with gateway(tmp_path, answers()) as (url, http):
        _, headers, _ = await post(http, url, "chat/completions", CHAT)
        good = {"decision_id": headers["x-foresight-decision-id"], "correct": 0.5}
        got, _, told = await post(http, url, "feedback", {**good, **change})

    assert got == status
    assert set(told["error"]) == {"message", "type", "param", "code"}
    assert told["error"]["type"] == "invalid_request_error"
    if param is not None:
        assert told["error"]["param"] == param
    if code is not None:
        assert told["error"]["code"] == code


async def test_without_a_ledger_feedback_has_no_place(tmp_path: Path) -> None:
    async with upstream(answers()) as server, Http() as http:
        pool = pool_of({"a": {"kind": "openai", "url": server.url}}, {"small": {"backend": "a"}})
        async with running_gateway(pool, router_of(pool)) as url:
            status, _, told = await post(http, url, "feedback", {"decision_id": "dec-1", "correct": 1})
    assert (status, told["error"]["code"]) == (404, "no_ledger")
    assert list(tmp_path.iterdir()) == []


async def test_the_ledger_agrees_with_what_clients_saw(tmp_path: Path) -> None:
    good = streams(chunk("fo"), chunk("ur"), chunk(finish="stop"), DONE)
    seen: dict[str, tuple[str | None, str, int]] = {}
    async with gateway(tmp_path, answers(500), answers()) as (url, http):
        status, headers, _ = await post(http, url, "chat/completions", CHAT)
        seen[headers["x-foresight-decision-id"]] = ("large", "ok", status)
        assert headers["x-foresight-candidate"] == "large"
        status, _, told = await post(http, url, "route", {"prompt": "easy"})
        seen[told["id"]] = (None, "", 0)
    async with gateway(tmp_path, good) as (url, http):
        status, headers, _ = await post(http, url, "chat/completions", {**CHAT, "stream": True})
        seen[headers["x-foresight-decision-id"]] = ("small", "ok", status)
    async with gateway(tmp_path, cuts(chunk("fo"))) as (url, http):
        status, headers, body = await post(http, url, "chat/completions", {**CHAT, "stream": True})
        assert b'"error"' in body
        seen[headers["x-foresight-decision-id"]] = ("small", "error", status)
    async with gateway(tmp_path, answers(500)) as (url, http):
        status, _, _ = await post(http, url, "chat/completions", CHAT)
        assert status == 502

    database = open_ledger(str(tmp_path / "ledger.db"))
    rows = {row.id: row for row in decisions.recent(database)}
    told_totals = money.totals(database, ALL)
    database.close()
    for name, (served_by, finish, code) in seen.items():
        row = rows.pop(name)
        assert (row.served_by, row.finish or "", row.status or 0) == (served_by, finish, code)
        assert row.predicted["success"]["small"] == 0.9
        assert row.prompt is None
    (failed,) = rows.values()
    assert (failed.served_by, failed.finish, failed.status) == (None, "error", 502)
    assert failed.failures == [{"candidate": "small", "kind": "status"}]
    assert (told_totals.decisions, told_totals.requests, told_totals.ok) == (5, 4, 2)


async def test_prompts_are_kept_only_where_the_operator_asks(tmp_path: Path) -> None:
    for prompts in (False, True):
        folder = tmp_path / str(prompts)
        folder.mkdir()
        async with gateway(folder, answers(), prompts=prompts) as (url, http):
            _, headers, _ = await post(http, url, "chat/completions", CHAT)
            await post(
                http,
                url,
                "chat/completions",
                {**CHAT, "messages": [{"role": "user", "content": "x" * 70_000}]},
            )
        kept = on_disk(folder, headers["x-foresight-decision-id"]).prompt
        assert kept == (CHAT["messages"] if prompts else None)
        written = b"".join(path.read_bytes() for path in folder.iterdir())
        assert (b"easy secret" in written) == prompts
        assert b"xxxxxxxx" not in written  # too long to keep


async def test_metrics_tell_of_the_ledger(tmp_path: Path) -> None:
    async with gateway(tmp_path, answers()) as (url, http):
        _, headers, _ = await post(http, url, "chat/completions", CHAT)
        await post(http, url, "feedback", {"decision_id": headers["x-foresight-decision-id"], "correct": 1})
        async with http.get(url.removesuffix("/v1") + "/metrics") as response:
            text = await response.text()
    assert "foresight_ledger_entries_total 3.0" in text
    assert "foresight_ledger_up 1.0" in text
    assert "foresight_ledger_waiting_entries 0.0" in text


def on_disk(folder: Path, name: str) -> decisions.Recorded:
    database = open_ledger(str(folder / "ledger.db"))
    row = decisions.decision(database, name)
    database.close()
    assert row is not None
    return row
