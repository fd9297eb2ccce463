"""A job over a real vLLM server, killed midway and started again."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from router.allocation.spending import ForPolicy
from router.configuration.pool import Pool
from router.policies import Bar
from serving.batch.batch import Batch
from serving.batch.engines import local
from serving.batch.place import Place
from serving.batch.summary import Summary
from serving.vllm.process import VllmServer
from tests.serving.batch.test_batch import _content, _wait_for_growth, rows, write_job
from tests.serving.routing import pool_of, router_of

LINES = 60
GOAL = ForPolicy(None)


def pool_at(url: str) -> Pool:
    decoding = {"temperature": 0, "max_tokens": 8}
    names = ("small", "large")
    entries = {name: {"backend": "far", "model": "tiny", "decoding": decoding} for name in names}
    return pool_of({"far": {"kind": "openai", "url": f"{url}/v1"}}, entries)


async def answer(url: str, source: Path, output: Path, bar: Bar | None = None) -> Summary:
    pool = pool_at(url)
    async with local(pool, 4) as standing:
        batch = Batch(source, router_of(pool), GOAL, self_check=bar)
        return await batch.run(output, standing.engine, ready=standing.ready)


@pytest.mark.vllm
@pytest.mark.timeout(300)
def test_a_job_over_vllm_that_was_killed_ends_as_if_it_had_not_been(
    tmp_path: Path, vllm_server: VllmServer
) -> None:
    source = write_job(tmp_path / "in.jsonl", LINES)
    calm, output = tmp_path / "calm.jsonl", tmp_path / "out.jsonl"
    told = asyncio.run(answer(vllm_server.url, source, calm))
    assert told.answered == LINES
    assert told.answered_by == {"small": LINES // 2, "large": LINES // 2}
    words = [sys.executable, "-m", __name__, vllm_server.url, str(source), str(output)]
    child = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": os.getcwd()})
    assert _wait_for_growth(Place(output).journal, LINES // 3, child)
    child.kill()
    child.wait()
    kept = len(rows(Place(output).journal)) - 1
    assert LINES // 3 - 1 <= kept < LINES
    again = asyncio.run(answer(vllm_server.url, source, output))
    assert again.cost_usd == pytest.approx(told.cost_usd)
    assert _content(output) == _content(calm)


@pytest.mark.vllm
@pytest.mark.timeout(300)
def test_vllm_tells_how_sure_it_is_and_is_asked_once_more(tmp_path: Path, vllm_server: VllmServer) -> None:
    source = write_job(tmp_path / "in.jsonl", 8)
    doubting = asyncio.run(answer(vllm_server.url, source, tmp_path / "all.jsonl", Bar(1.0)))
    trusting = asyncio.run(answer(vllm_server.url, source, tmp_path / "none.jsonl", Bar(0.0)))
    assert (doubting.doubted, doubting.rechecked, doubting.answered_by["large"]) == (4, 4, 8)
    assert (trusting.doubted, trusting.rechecked, trusting.answered_by["large"]) == (0, 0, 4)
    looked_at = [row["foresight"]["calls"] for row in rows(tmp_path / "none.jsonl")[::2]]
    assert all(0 < call["confidence"] < 1 for (call,) in looked_at)
    choices = [row["response"]["body"]["choices"][0] for row in rows(tmp_path / "none.jsonl")]
    assert not any(choice.get("logprobs") for choice in choices)


if __name__ == "__main__":
    asyncio.run(answer(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
