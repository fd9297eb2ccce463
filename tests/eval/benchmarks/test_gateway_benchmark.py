"""The gateway benchmark's own parts: its upstream, its load generator and its relay tell the truth."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from eval.benchmarks.gateway.load import closed_loop, request_bytes, streams
from eval.benchmarks.gateway.rig.pool import make_router, write_pool
from eval.benchmarks.gateway.rig.processes import cores, free_port, python, running
from eval.benchmarks.gateway.rig.scouts import prompts
from eval.benchmarks.gateway.rig.timing import ratio
from eval.benchmarks.gateway.rig.upstream import ANSWER, WHOLE
from router.configuration.pool import Pool
from router.router import Router

HOME = Path(__file__).resolve().parents[3] / "eval" / "benchmarks" / "gateway" / "rig"


def test_upstream_and_relay_answer_every_request(tmp_path: Path) -> None:
    mine, others = cores()
    port, relay_port = free_port(), free_port()
    command = python(HOME / "upstream.py", port)
    with running(command, port, log=tmp_path / "up.log", cores=others) as upstream:
        relay = python(HOME / "relay.py", relay_port, upstream.url)
        with running(relay, relay_port, log=tmp_path / "relay.log", cores=mine) as through:
            for process in (upstream, through):
                request = request_bytes(process.url, {"model": "m"})
                outcome = asyncio.run(closed_loop(process.url, request, 4, 0.2))
                assert outcome.lost == 0
                assert len(outcome.latencies_s) >= 4
                paced = request_bytes(process.url, {"model": "m", "stream": True})
                streamed = asyncio.run(streams(process.url, paced, 10))
                assert (streamed.lost, len(streamed.latencies_s)) == (0, 10)
            assert through.memory_mb() <= through.memory_mb(peak=True)


def test_the_upstreams_answer_is_a_chat_completion() -> None:
    assert json.loads(WHOLE.partition(b"\r\n\r\n")[2]) == ANSWER


def test_a_halfs_cores_weigh_on_both_and_leave_their_ratio_alone() -> None:
    below = np.array([[1.0, 2.0, 3.0, 2.0], [10.0, 20.0, 30.0, 20.0]])
    found, low, high = ratio(below * 2, below)
    assert found == pytest.approx(2)
    assert (low, high) == pytest.approx((2, 2)), "asked in turn, both were slow at once"
    crossed, low, high = ratio(below * np.array([[1.5], [1 / 1.5]]), below)
    assert crossed == pytest.approx(1)
    assert low <= crossed <= high


def test_no_two_prompts_of_the_engine_rows_begin_alike() -> None:
    asked = [*prompts(50), *prompts(50, seed=1)]
    assert len({text[:16] for text in asked}) == len(asked)


def test_pool_and_router_can_be_served(tmp_path: Path) -> None:
    path, folder = write_pool(tmp_path, "http://127.0.0.1:9", {"ledger": None})

    pool = Pool.load(path)
    router = Router.load(folder, pool=pool)

    assert router.pool.names == ("m0", "m1") == make_router(2).pool.names
