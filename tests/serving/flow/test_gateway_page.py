"""The page of the gateway runs: its section of the pool file, its commands and its requests."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import yaml

from eval.benchmarks.gateway.rig.pool import write_pool
from eval.benchmarks.gateway.rig.processes import cores, foresight, free_port, python, running
from serving.settings import GatewaySettings
from tests.test_docs import blocks, commands, run

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "gateway.md").read_text(encoding="utf-8")
UPSTREAM = ROOT / "eval" / "benchmarks" / "gateway" / "rig" / "upstream.py"


def section() -> dict[str, Any]:
    (block,) = blocks("yaml", PAGE)
    return dict(yaml.safe_load(block)["serve"])


def test_what_the_page_shows_of_the_pool_file_is_what_is_the_default() -> None:
    shown = GatewaySettings.of_section(section(), ROOT)
    bare = GatewaySettings.of_section({}, ROOT)
    same = set(section()) - {"keys", "ledger"}
    assert {name: getattr(shown, name) for name in same} == {name: getattr(bare, name) for name in same}


def test_keys_requests_feedback_and_ledger_as_the_page_shows_them(tmp_path: Path) -> None:
    create, serve, chat, route, feedback, show, export, recalibrate = commands(PAGE)
    key = run(create, tmp_path).split()[-1]
    port, upstream_port = free_port(), free_port()
    own, others = cores()
    up = python(UPSTREAM, upstream_port)
    with running(up, upstream_port, log=tmp_path / "up.log", cores=others) as upstream:
        kept = {**section(), "port": port, "ledger": {"url": "foresight-ledger.db", "prompts": True}}
        pool, router = write_pool(tmp_path, upstream.url, kept)
        assert [pool.name, router.name] == ["pool.yaml", "router"]
        words = [str(tmp_path / word) if (tmp_path / word).exists() else word for word in serve[1:]]
        words = foresight(*words, "--scout-mode", "none")
        with running(words, port, log=tmp_path / "serve.log", cores=own, ready="/ready"):
            answer = ask(chat, port, tmp_path, key)
            assert answer["foresight"]["served_by"] in {"m0", "m1"}
            assert ask(route, port, tmp_path, key)["object"] == "foresight.decision"
            rated = ask(feedback, port, tmp_path, key, answer["foresight"]["id"])
            assert rated["object"] == "foresight.feedback"
    assert "1" in run(show, tmp_path)
    run(export, tmp_path)
    assert (tmp_path / "ratings" / "outcomes.csv").read_text(encoding="utf-8").count("\n") == 2
    told = run([*recalibrate[:2], "--help"], ROOT)
    assert all(word in told for word in recalibrate if word.startswith("-"))


def ask(curl: list[str], port: int, folder: Path, key: str, decision: str = "") -> dict[str, Any]:
    words = [
        word.replace(":8000", f":{port}").replace("$KEY", key).replace("$DECISION", decision) for word in curl
    ]
    answer: dict[str, Any] = json.loads(run([*words, "--silent"], folder))
    assert "error" not in answer, shlex.join(words)
    return answer
