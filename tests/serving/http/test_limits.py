"""Limits on what comes back, and the section `serve:` of a pool file."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pytest

from probes.errors import ConfigError
from router.configuration.pool import Pool
from serving.http.sse import DONE
from serving.settings import LEDGER_FILE, GatewaySettings, LedgerSettings
from tests.serving.conftest import behind
from tests.serving.routing import pool_of
from tests.serving.upstream import chunk, streams

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "easy"}], "stream": True}


async def test_a_stream_that_grows_beyond_the_limit_ends_with_an_error(http: aiohttp.ClientSession) -> None:
    long = [chunk("x" * 400) for _ in range(40)]
    async with (
        behind(streams(*long, DONE, pause_s=0.002), max_answer_bytes=8000) as (url, _),
        http.post(f"{url}/chat/completions", json=CHAT) as response,
    ):
        body = await response.read()

    assert response.status == 200
    events = body.split(b"\n\n")
    assert json.loads(events[-2].removeprefix(b"data: "))["error"]["code"] == "answer_too_large"
    assert b"[DONE]" not in body
    assert len(body) < 9000


class TestSection:
    def test_without_a_word_a_ledger_is_kept_in_the_working_directory(self, tmp_path: Path) -> None:
        settings = GatewaySettings.of_section({}, tmp_path)
        assert settings.ledger is not None
        assert settings.ledger.url == str(Path.cwd() / LEDGER_FILE)
        assert GatewaySettings.of_section({"ledger": None}, tmp_path).ledger is None

    def test_paths_begin_at_the_pool_file(self, tmp_path: Path) -> None:
        section = {"port": 1234, "ledger": {"url": "x.db", "prompts": True}, "keys": {"file": "keys.yaml"}}
        settings = GatewaySettings.of_section(section, tmp_path)
        assert (settings.folder, settings.port) == (tmp_path, 1234)
        assert settings.ledger == LedgerSettings(url="x.db", prompts=True)
        moved = settings.with_ledger("elsewhere.db").ledger
        assert moved is not None
        assert (moved.url, moved.prompts) == (str(Path.cwd() / "elsewhere.db"), True)

    @pytest.mark.parametrize(
        ("section", "field"),
        [
            ({"prot": 1}, "prot"),
            ({"ledger": {"keep_days": 0}}, "ledger.keep_days"),
            ({"ledger": {"urls": "x"}}, "urls"),
            ({"keys": {}}, "keys.file"),
            ({"keys": {"file": "a", "env": "B"}}, "keys.file"),
        ],
    )
    def test_a_wrong_field_is_named(self, tmp_path: Path, section: dict[str, object], field: str) -> None:
        with pytest.raises(ConfigError) as caught:
            GatewaySettings.of_section(section, tmp_path, "pool.yaml")
        assert caught.value.message.startswith("pool.yaml: serve")
        assert field in caught.value.message

    def test_a_url_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = LedgerSettings(url_env="SOME_LEDGER")
        with pytest.raises(ConfigError, match="SOME_LEDGER is not set"):
            settings.place()
        monkeypatch.setenv("SOME_LEDGER", "postgresql://me:secret@host/x")
        assert settings.place() == "postgresql://me:secret@host/x"

    def test_the_artefact_knows_nothing_of_it(self, tmp_path: Path) -> None:
        pool = pool_of(
            {"b": {"kind": "openai", "url": "http://127.0.0.1:9/v1"}},
            {"small": {"backend": "b"}},
            serve={"port": 1},
        )
        assert pool.serve == {"port": 1}
        assert Pool.parse(pool.snapshot(tmp_path), folder=tmp_path).serve == {}
