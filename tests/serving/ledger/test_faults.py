"""Real faults: a process that is killed, a disk that is full, a server that stops and comes back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from router.decisions.decision import Decision
from serving.ledger.database import Database, ledger_url, open_ledger
from serving.ledger.ledger import Deployment, Ledger
from serving.ledger.reading import decisions, money
from serving.ledger.reading.watch import Watch
from serving.ledger.reading.window import Window
from serving.settings import LedgerSettings
from tests.serving.ledger.postgres import MISSING, REASON, PostgresServer
from tests.serving.ledger.rows import LARGE, decision, exchange, query

ROOT = Path(__file__).resolve().parents[3]
ALL = Window(0, 4e9)

WRITES_UNTIL_KILLED = """
import asyncio, sys
from tests.serving.ledger.rows import decision, exchange
from tests.serving.ledger.test_faults import ledger_at
from tests.serving.ledger.rows import query

async def main():
    ledger = ledger_at(sys.argv[1])
    await ledger.start()
    while True:
        chosen = [decision() for _ in range(20)]
        for one in chosen:
            ledger.decided(one, 0.001, query())
            ledger.finished(exchange(one))
        await asyncio.gather(*(ledger.rate(one.id, 1.0, None, None) for one in chosen))
        for one in chosen:
            print(one.id, flush=True)

asyncio.run(main())
"""

WRITES_TO_A_FULL_DISK = """
import asyncio, json, resource, sys, time
from tests.serving.ledger.rows import decision, exchange
from tests.serving.ledger.test_faults import ledger_at
from tests.serving.ledger.rows import query

async def main():
    ledger = ledger_at(sys.argv[1])
    await ledger.start()
    limit = 300 << 10  # bytes that any file may have from here on
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    longest_s, n = 0.0, 0
    for _ in range(200):
        for _ in range(20):
            began = time.perf_counter()
            one = decision()
            ledger.decided(one, 0.001, query())
            ledger.finished(exchange(one))
            longest_s, n = max(longest_s, time.perf_counter() - began), n + 1
        await asyncio.sleep(0.002)
    await asyncio.sleep(0.5)
    try:
        await asyncio.wait_for(ledger.rate(one.id, 1.0, None, None), 1)
        rated = True
    except TimeoutError:
        rated = False
    waiting = len(ledger._writer)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await ledger.close()
    print(json.dumps({"longest_s": longest_s, "made": n, "rated": rated, "waiting": waiting}))

asyncio.run(main())
"""


def ledger_at(url: str, **settings: object) -> Ledger:
    chosen = LedgerSettings.model_validate({"url": url, "flush_s": 0.01, **settings})
    database = Database(ledger_url(url, Path.cwd()))
    return Ledger(database, chosen, Deployment("fit-1", LARGE), Watch(CollectorRegistry()))


def child(script: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    place = tmp_path / "ledger.db"
    acknowledged = []
    with child(WRITES_UNTIL_KILLED, str(place)) as process:
        assert process.stdout is not None
        for line in process.stdout:
            acknowledged.append(line.strip())
            if len(acknowledged) == 200:
                os.kill(process.pid, signal.SIGKILL)
    whole = [name for name in acknowledged if len(name) == len(acknowledged[0])]

    database = open_ledger(str(place))
    rows = {row.id: row for row in decisions.recent(database, 10_000)}
    database.close()
    assert len(whole) >= 200
    assert all(rows[name].correct == 1.0 and rows[name].finish == "ok" for name in whole)


def test_a_full_disk_delays_nobody_and_loses_nothing_that_fits_the_queue(tmp_path: Path) -> None:
    place = tmp_path / "ledger.db"
    with child(WRITES_TO_A_FULL_DISK, str(place)) as process:
        out, err = process.communicate(timeout=90)
    told = json.loads(out.splitlines()[-1])

    assert "cannot be written" in err
    assert told["rated"] is False  # not stored, not acknowledged
    assert told["waiting"] > 100
    assert told["longest_s"] < 2  # a wait for the disk has no end here
    database = open_ledger(str(place))
    found = money.totals(database, ALL)
    database.close()
    assert (found.decisions, found.requests) == (told["made"], told["made"])


@pytest.mark.skipif(MISSING, reason=REASON)
async def test_a_database_that_stops_blocks_nobody_and_is_written_when_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = PostgresServer()
    ledger = ledger_at(server.url)
    try:
        await ledger.start()  # the server does not run yet
        assert "cannot be opened" in caplog.text
        before, during = [decision() for _ in range(5)], [decision() for _ in range(50)]
        note(ledger, before)
        server.start()
        assert await ledger.rate(before[0].id, 1.0, None, None)
        server.stop()
        began = time.perf_counter()
        note(ledger, during)
        assert time.perf_counter() - began < 0.5
        waiting = asyncio.create_task(ledger.rate(during[0].id, 0.0, None, None))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        server.start()
        assert await waiting
        await ledger.close()
        assert money.totals(ledger.database, ALL).requests == 55
    finally:
        await ledger.close()
        server.remove()


async def test_feedback_is_not_acknowledged_while_the_database_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.ledger.ledger.FEEDBACK_WAIT_S", 0.2)
    monkeypatch.setattr("serving.ledger.ledger.CLOSE_WAIT_S", 0.2)
    blocked = tmp_path / "folder-that-is-a-file"
    blocked.write_text("")
    ledger = ledger_at(str(blocked / "ledger.db"))
    await ledger.start()
    ledger.decided(one := decision(), 0.001, query())
    with pytest.raises(TimeoutError):
        await ledger.rate(one.id, 1.0, None, None)
    with pytest.raises(TimeoutError):
        await ledger.spent_usd(0)
    await ledger.close()


def test_two_gateways_may_begin_at_the_same_time(tmp_path: Path) -> None:
    place = str(tmp_path / "ledger.db")
    script = "import sys; from pathlib import Path; from serving.ledger.database import *\n"
    script += "Database(ledger_url(sys.argv[1], Path.cwd())).migrate()"
    children = [child(script, place) for _ in range(3)]
    told = [process.communicate(timeout=60)[1] for process in children]

    assert [process.returncode for process in children] == [0, 0, 0], told


def note(ledger: Ledger, chosen: list[Decision]) -> None:
    for one in chosen:
        ledger.decided(one, 0.001, query())
        ledger.finished(exchange(one))
