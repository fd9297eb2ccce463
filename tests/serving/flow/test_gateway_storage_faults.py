"""A gateway in a process of its own, under load, while its disk, its database or its clock fails."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from serving.ledger.database import Database, ledger_url, open_ledger
from serving.ledger.reading import money
from serving.ledger.reading.window import Window
from serving.vllm.process import free_port
from tests.serving.flow.test_gateway_faults import post
from tests.serving.ledger.postgres import MISSING, REASON, PostgresServer
from tests.serving.resilience.test_processes import ROOT, answering, fast_upstream

ALL = Window(0, 4e10)
SERVE = """
import sys, time
from serving.run import serve
from serving.settings import GatewaySettings, LedgerSettings
from tests.serving.routing import pool_of, router_of

truly, ahead_s = time.time, 0.0
time.time = lambda: truly() + ahead_s

def jump(*_):
    global ahead_s
    ahead_s = -7200.0 if ahead_s > 0 else 7200.0

import signal
signal.signal(signal.SIGUSR1, jump)
pool = pool_of({"far": {"kind": "openai", "url": sys.argv[1]}}, {"small": {"backend": "far"}})
kept = LedgerSettings(url=sys.argv[2], flush_s=0.01)
serve(pool, router_of(pool), port=0, settings=GatewaySettings(drain_s=20, ledger=kept))
"""
SLOWEST_S = 5.0
"""More than any stall of a busy machine, less than any wait for a disk or a database."""

Http = aiohttp.ClientSession


@asynccontextmanager
async def gateway(ledger: str) -> AsyncIterator[tuple[Process, str]]:
    """A gateway's process and its address, over an upstream that answers at once; ends with SIGTERM."""
    port = free_port()
    words = [sys.executable, "-c", SERVE, f"http://127.0.0.1:{port}/v1", ledger]
    with fast_upstream(port):
        await answering(port)
        process = await asyncio.create_subprocess_exec(*words, cwd=ROOT, env=dict(os.environ), stderr=PIPE)
        assert process.stderr is not None
        told = b""
        while not told.endswith(b"Stop with Ctrl-C.\n"):
            line = await process.stderr.readline()
            assert line, told.decode()
            told += line
        try:
            yield process, next(word for word in told.decode().split() if word.startswith("http://"))
        finally:
            process.send_signal(signal.SIGTERM)
            _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    assert b"Traceback" not in said


async def ask(http: Http, url: str, n: int = 200) -> int:
    """Ask so many times, sixteen at once; every answer comes whole and in time."""
    gate = asyncio.Semaphore(16)

    async def one() -> int:
        async with gate:
            status, _, body = await asyncio.wait_for(post(http, url), SLOWEST_S)
            assert body.endswith(b"}")
            return status

    assert set(await asyncio.gather(*(one() for _ in range(n)))) == {200}
    return n


async def counted(read: Callable[[], int], expected: int) -> None:
    """Wait until the ledger has caught up."""
    async with asyncio.timeout(30):
        while await asyncio.to_thread(read) != expected:
            await asyncio.sleep(0.1)


def requests_in(place: str) -> int:
    database = open_ledger(place)
    try:
        return money.totals(database, ALL).requests
    finally:
        database.close()


async def test_a_disk_that_fills_up_loses_no_answer_and_no_record(http: Http, tmp_path: Path) -> None:
    place = str(tmp_path / "ledger.db")
    async with gateway(place) as (process, url):
        n = await ask(http, url)
        await counted(lambda: requests_in(place), n)
        largest = max(path.stat().st_size for path in tmp_path.iterdir())
        full = (largest + 4096, resource.RLIM_INFINITY)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, full)
        n += await ask(http, url, 600)
        assert requests_in(place) < n
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        await counted(lambda: requests_in(place), n)
    assert requests_in(place) == n


@pytest.mark.skipif(MISSING, reason=REASON)
async def test_a_database_that_goes_and_comes_back_loses_no_answer_and_no_record(http: Http) -> None:
    server = PostgresServer()
    database = Database(ledger_url(server.url, Path.cwd()))
    try:
        server.start()
        async with gateway(server.url) as (_, url):
            n = await ask(http, url)
            server.stop()
            n += await ask(http, url)
            server.start()
            n += await ask(http, url)
        assert money.totals(database, ALL).requests == n
    finally:
        database.close()
        server.remove()


async def test_a_clock_that_jumps_changes_no_answer(http: Http, tmp_path: Path) -> None:
    place = str(tmp_path / "ledger.db")
    async with gateway(place) as (process, url):
        n = await ask(http, url)
        for _ in ("two hours ahead", "two hours behind"):
            asking: Awaitable[int] = asyncio.create_task(ask(http, url))
            process.send_signal(signal.SIGUSR1)
            n += await asking
        n += await ask(http, url)
    assert requests_in(place) == n
