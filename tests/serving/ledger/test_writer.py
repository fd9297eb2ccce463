"""The writer: takes everything at once, waits for a database that is away, and says what it lost."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import pytest
from sqlalchemy.exc import DataError, OperationalError

from serving.ledger import writer as module
from serving.ledger.entries import Decided, Entry
from serving.ledger.writer import Writer
from tests.serving.ledger.rows import decided, decision, rated


class Notes:
    """Counts."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.up: list[bool] = []

    def wrote(self, n_entries: int) -> None:
        self.counts["wrote"] += n_entries

    def dropped(self, kind: str) -> None:
        self.counts[kind] += 1

    def reachable(self, yes: bool) -> None:
        if self.up[-1:] != [yes]:
            self.up.append(yes)


class Disk:
    """A database that can be away, and that refuses entries of one request id."""

    def __init__(self) -> None:
        self.written: list[Entry] = []
        self.away = threading.Event()
        self.slow = threading.Event()
        self.calls = 0

    def write(self, entries: Sequence[Entry]) -> None:
        self.calls += 1
        while self.slow.is_set():
            time.sleep(0.01)
        if self.away.is_set():
            raise OperationalError("INSERT", {}, Exception("database or disk is full"))
        if any(isinstance(entry, Decided) and entry.request_id == "bad" for entry in entries):
            raise DataError("INSERT", {}, Exception("no"))
        if any(isinstance(entry, Decided) and entry.request_id == "worse" for entry in entries):
            raise OverflowError("too large")
        self.written += entries


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def writer(disk: Disk, notes: Notes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Writer]:
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.01)
    writer = Writer(disk.write, notes, capacity=100, flush_s=0.01)
    writer.start()
    yield writer
    disk.away.clear()
    disk.slow.clear()
    writer.close(5)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_entries_are_written_together_and_in_order(writer: Writer, disk: Disk, notes: Notes) -> None:
    entries = [decided(decision()) for _ in range(50)]
    for entry in entries:
        assert writer.put(entry)

    assert writer.flush(5)
    assert disk.written == entries
    assert disk.calls < 10
    assert notes.counts == {"wrote": 50}


def test_what_comes_while_a_batch_is_written_waits_for_company(disk: Disk, notes: Notes) -> None:
    writer = Writer(disk.write, notes, capacity=100, flush_s=0.2)
    disk.slow.set()
    writer.start()
    writer.put(decided(decision()))
    until(lambda: disk.calls == 1)
    writer.put(decided(decision()))
    disk.slow.clear()
    until(lambda: len(disk.written) == 1)
    for _ in range(5):
        writer.put(decided(decision()))
    until(lambda: not len(writer))

    assert disk.calls == 2
    assert writer.close(5) == 0


def test_flushing_does_not_wait_for_what_comes_after_it(notes: Notes) -> None:
    begun, gate, flushed = threading.Semaphore(0), threading.Semaphore(0), threading.Event()

    def write(_: Sequence[Entry]) -> None:
        begun.release()
        gate.acquire()

    writer = Writer(write, notes, capacity=100, flush_s=0.01)
    writer.start()
    writer.put(decided(decision()))
    begun.acquire()
    thread = threading.Thread(target=lambda: flushed.set() if writer.flush(10) else None)
    thread.start()
    time.sleep(0.05)
    writer.put(decided(decision()))
    gate.release()
    begun.acquire()  # the first is written, the second is not
    thread.join(5)

    assert flushed.is_set()
    assert len(writer) == 1
    gate.release()
    assert writer.close(5) == 0


def test_nothing_is_lost_while_the_database_is_away(
    writer: Writer, disk: Disk, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    disk.away.set()
    entries = [decided(decision()) for _ in range(50)]
    with caplog.at_level(logging.WARNING):
        for entry in entries:
            assert writer.put(entry)
        until(lambda: disk.calls > 3)
        assert not writer.flush(0.05)
        disk.away.clear()
        assert writer.flush(5)

    assert disk.written == entries
    assert notes.up == [False, True]
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]  # once each, however often
    assert "disk is full" in caplog.text


def test_a_full_queue_drops_counts_and_says_so_once(
    writer: Writer, disk: Disk, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    disk.slow.set()
    writer.put(decided(decision()))
    until(lambda: disk.calls == 1)
    began = time.perf_counter()
    taken = [writer.put(decided(decision())) for _ in range(150)]
    took_s = time.perf_counter() - began

    assert taken == [True] * 100 + [False] * 50
    assert took_s < 1  # nobody waited for the disk
    assert notes.counts["full"] == 50
    assert caplog.text.count("queue is full") == 1
    disk.slow.clear()
    assert writer.flush(5)
    assert len(disk.written) == 101


@pytest.mark.parametrize("name", ["bad", "worse"])
def test_an_entry_that_is_refused_takes_no_other_with_it(
    writer: Writer, disk: Disk, notes: Notes, name: str
) -> None:
    good = [decided(decision()) for _ in range(3)]
    for entry in (good[0], decided(decision(), request_id=name), *good[1:]):
        writer.put(entry)

    assert writer.flush(5)
    assert disk.written == good
    assert notes.counts == {"wrote": 3, "refused": 1}


def test_closing_writes_what_is_left(disk: Disk, notes: Notes) -> None:
    writer = Writer(disk.write, notes, capacity=100, flush_s=5)
    writer.start()
    writer.put(decided(decision()))

    assert writer.close(10) == 0
    assert len(disk.written) == 1
    assert not writer.put(decided(decision()))
    assert notes.counts == {"wrote": 1, "closed": 1}


def test_closing_gives_up_on_a_database_that_stays_away(disk: Disk, notes: Notes) -> None:
    disk.away.set()
    writer = Writer(disk.write, notes, capacity=100, flush_s=0.01)
    writer.start()
    rating = rated("dec-1")
    for entry in (decided(decision()), rating):
        writer.put(entry)

    began = time.monotonic()
    assert writer.close(0.3) == 2
    assert time.monotonic() - began < 5
    assert rating.done.cancelled()
    assert notes.counts["closed"] == 2
