"""Jobs over a fake candidate: money, order, bad input, and nothing lost or paid twice."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from probes.errors import BackendError, UsageError
from router.allocation.spending import ForAccuracy, ForBudget, ForPolicy
from router.configuration.pool import Pool
from serving.batch.batch import Batch
from serving.batch.place import Place
from serving.batch.reading.lines import Fault, LineReader
from serving.batch.running.engine import LocalEngine
from serving.batch.running.reply import Reply
from serving.batch.status import status_of
from serving.batch.summary import Summary
from serving.http.errors import ApiError
from serving.http.protocol import Query
from tests.serving.routing import pool_of, router_of

GREEDY = {"temperature": 0, "max_tokens": 16}


def make_pool(price: float = 1.0) -> Pool:
    backends = {"near": {"kind": "openai", "url": "http://127.0.0.1:9/v1"}}
    names = ("small", "small:think", "large")
    entries: dict[str, Any] = {name: {"backend": "near", "decoding": GREEDY} for name in names}
    entries["small"]["price"] = {"usd_per_mtok_in": price, "usd_per_mtok_out": 2 * price}
    return pool_of(backends, entries)


class Echo:
    """A candidate whose answer, and its length, follow from the question alone."""

    def __init__(self, pool: Pool, *, fail: int | None = None, dearer: float = 1.0) -> None:
        self.asked: list[str] = []
        self._pool, self._fail, self._dearer = pool, fail, dearer

    async def ask(self, query: Query, candidate: str) -> Reply:
        text = query.body["messages"][-1]["content"]
        self.asked.append(text)
        await asyncio.sleep(random.random() / 500)
        if self._fail is not None:
            raise ApiError(self._fail, "no")
        length = int((4 + sum(map(ord, text)) % 9) * self._dearer)
        message = {"role": "assistant", "content": f"{candidate}: {text}"}
        return Reply(
            {"object": "chat.completion", "choices": [{"message": message}]}, len(text.split()), length
        )


def line(custom_id: str, text: str, **body: Any) -> str:
    messages = [{"role": "user", "content": text}]
    row = {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions"}
    return json.dumps({**row, "body": {"model": "auto", "messages": messages, **body}})


def write_job(path: Path, n: int = 300) -> Path:
    words = ("easy", "hard")
    path.write_text("".join(line(f"q{i:05}", f"{words[i % 2]} question {i}") + "\n" for i in range(n)))
    return path


def run(
    path: Path, output: Path, goal: Any, *, echo: Echo | None = None, pool: Pool | None = None, **more: Any
) -> Summary:
    pool = pool or make_pool()
    engine = LocalEngine(pool, echo or Echo(pool), concurrency=8)
    return asyncio.run(Batch(path, router_of(pool), goal).run(output, engine, **more))


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in path.read_text().splitlines()]


@pytest.mark.parametrize("dearer", [0.5, 1.0, 1.9])
def test_a_budget_is_used_and_not_exceeded_by_more_than_one_answer(tmp_path: Path, dearer: float) -> None:
    path = write_job(tmp_path / "in.jsonl", 600)
    pool = make_pool()
    budget = 0.03
    summary = run(path, tmp_path / "out.jsonl", ForBudget(budget), echo=Echo(pool, dearer=dearer), pool=pool)
    dearest = (3 + 16 * 2) * 10 / 1e6
    assert summary.cost_usd <= budget + dearest
    assert summary.cost_usd >= 0.97 * budget
    answers = rows(tmp_path / "out.jsonl")
    assert sum(row["foresight"]["cost_usd"] for row in answers) == pytest.approx(summary.cost_usd)


def test_the_money_goes_where_it_buys_most(tmp_path: Path) -> None:
    run(write_job(tmp_path / "in.jsonl"), tmp_path / "out.jsonl", ForBudget(0.03))
    by = {"easy": set(), "hard": set()}  # type: dict[str, set[str]]
    for row in rows(tmp_path / "out.jsonl"):
        candidate, _, text = row["response"]["body"]["choices"][0]["message"]["content"].rpartition(": ")
        by[text.split()[0]].add(candidate)
    assert "large" in by["hard"]
    assert by["easy"] == {"small"}


def test_the_output_is_openais_and_ordered_by_custom_id(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(line(name, "easy") for name in ("b", "c", "a")))
    run(path, tmp_path / "out.jsonl", ForPolicy(None))
    answers = rows(tmp_path / "out.jsonl")
    assert [row["custom_id"] for row in answers] == ["a", "b", "c"]
    assert all(row["error"] is None and row["response"]["status_code"] == 200 for row in answers)
    assert {row["foresight"]["candidate"] for row in answers} == {"small"}


def test_a_floor_is_planned_at_less_than_always_the_best(tmp_path: Path) -> None:
    summary = run(write_job(tmp_path / "in.jsonl"), tmp_path / "out.jsonl", ForAccuracy(0.87))
    assert summary.accuracy >= 0.87
    assert summary.cost_usd < summary.best.cost_usd


def test_lines_may_choose_for_themselves(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    lines = [
        line("named", "easy", model="large"),
        line("rule", "easy", model="auto:best"),
        line("wish", "easy", foresight={"quality": 1.0}),
        line("not", "easy", foresight={"exclude": ["small"]}),
        line("plain", "easy"),
        line("strange", "strange"),
    ]
    path.write_text("\n".join(lines))
    run(path, tmp_path / "out.jsonl", ForBudget(0.01 / 10))
    chosen = {row["custom_id"]: row["foresight"]["candidate"] for row in rows(tmp_path / "out.jsonl")}
    assert chosen["named"] == chosen["rule"] == chosen["wish"] == chosen["strange"] == "large"
    assert chosen["not"] != "small"


def test_a_second_run_pays_nothing_and_writes_the_same(tmp_path: Path) -> None:
    path, output = write_job(tmp_path / "in.jsonl"), tmp_path / "out.jsonl"
    run(path, output, ForBudget(0.02))
    before, pool = output.read_bytes(), make_pool()
    echo = Echo(pool)
    run(path, output, ForBudget(0.02), echo=echo, pool=pool)
    assert echo.asked == []
    assert output.read_bytes() == before


def test_what_failed_is_tried_again_and_what_was_refused_is_not(tmp_path: Path) -> None:
    path, output, pool = write_job(tmp_path / "in.jsonl", 10), tmp_path / "out.jsonl", make_pool()
    run(path, output, ForPolicy(None), echo=Echo(pool, fail=503), pool=pool)
    assert {row["error"]["code"] for row in rows(Place(output).errors)} == {"status_503"}
    run(path, output, ForPolicy(None))
    assert (len(rows(output)), rows(Place(output).errors)) == (10, [])
    other = tmp_path / "other.jsonl"
    run(path, other, ForPolicy(None), echo=Echo(pool, fail=400), pool=pool)
    echo = Echo(pool)
    assert run(path, other, ForPolicy(None), echo=echo, pool=pool).failed == 10
    assert echo.asked == []


def test_a_backend_that_fails_on_and_on_stops_the_job(tmp_path: Path) -> None:
    pool = make_pool()
    with pytest.raises(BackendError, match="20 times in a row"):
        run(
            write_job(tmp_path / "in.jsonl"),
            tmp_path / "out.jsonl",
            ForPolicy(None),
            echo=Echo(pool, fail=503),
            pool=pool,
        )
    assert not (tmp_path / "out.jsonl").exists()


BAD = {
    "not json": ("{nonsense", "invalid_json"),
    "endpoint": (
        json.dumps({"custom_id": "x", "method": "POST", "url": "/v1/images", "body": {}}),
        "unknown_endpoint",
    ),
    "no id": (json.dumps({"url": "/v1/chat/completions", "body": {}}), "invalid_custom_id"),
    "no messages": (line("y", "easy", messages=[]), "invalid_value"),
    "repeated": (line("q00000", "easy"), "duplicate_custom_id"),
    "stream": (line("z", "easy", stream=True), "invalid_body"),
    "model": (line("m", "easy", model="nobody"), "model_not_found"),
    "too long": (line("l", "word " * 2000), "no_candidate"),
    "tools": (line("t", "easy", tools=[{"type": "function", "function": {"name": "f"}}]), "no_candidate"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_named_before_anything_is_spent(tmp_path: Path, name: str) -> None:
    text, code = BAD[name]
    n = 740 if name == "not json" else 20
    path, output, pool = write_job(tmp_path / "in.jsonl", n), tmp_path / "out.jsonl", make_pool()
    lines = path.read_text().splitlines()
    lines[n - 10] = text
    path.write_text("\n".join(lines))
    echo = Echo(pool)
    with pytest.raises(UsageError, match=f"line {n - 9}: "):
        run(path, output, ForBudget(0.05), echo=echo, pool=pool)
    assert echo.asked == []
    summary = run(path, output, ForBudget(0.05), echo=echo, pool=pool, skip_bad=True)
    assert (summary.answered, summary.failed) == (n - 1, 1)
    (error,) = rows(Place(output).errors)
    assert (error["line"], error["error"]["code"]) == (n - 9, code)


def test_an_empty_file_and_a_missing_one_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(UsageError, match="is empty"):
        run(tmp_path / "empty.jsonl", tmp_path / "out.jsonl", ForBudget(1))
    with pytest.raises(UsageError, match="cannot be read"):
        run(tmp_path / "none.jsonl", tmp_path / "out.jsonl", ForBudget(1))


@pytest.mark.parametrize(
    ("goal", "told"), [(ForBudget(1e-6), "cheapest plan"), (ForAccuracy(0.999), "reach is")]
)
def test_a_goal_out_of_reach_is_told_before_anything_is_spent(tmp_path: Path, goal: Any, told: str) -> None:
    pool = make_pool()
    echo = Echo(pool)
    with pytest.raises(UsageError, match=told):
        run(write_job(tmp_path / "in.jsonl"), tmp_path / "out.jsonl", goal, echo=echo, pool=pool)
    assert echo.asked == []


def test_a_job_begun_on_other_terms_is_refused(tmp_path: Path) -> None:
    path, output = write_job(tmp_path / "in.jsonl", 20), tmp_path / "out.jsonl"
    run(path, output, ForBudget(0.02))
    with pytest.raises(UsageError, match="changed since: the pool"):
        run(path, output, ForBudget(0.02), pool=make_pool(price=3.0))
    with pytest.raises(UsageError, match="changed since: the budget"):
        run(path, output, ForBudget(0.03))
    path.write_text(line("new", "easy"))
    with pytest.raises(UsageError, match="changed since: the input"):
        run(path, output, ForBudget(0.02))


def test_before_anything_is_paid_the_terms_may_still_change(tmp_path: Path) -> None:
    path, output = write_job(tmp_path / "in.jsonl", 5), tmp_path / "out.jsonl"
    with pytest.raises(UsageError, match="cheapest plan"):
        run(path, output, ForBudget(1e-6))
    write_job(path, 6)
    assert run(path, output, ForBudget(0.01)).answered == 6


def test_two_runs_of_one_job_keep_out_of_each_others_way(tmp_path: Path) -> None:
    path, output, pool = write_job(tmp_path / "in.jsonl"), tmp_path / "out.jsonl", make_pool()

    async def both() -> list[Any]:
        engines = [LocalEngine(pool, Echo(pool)) for _ in range(2)]
        jobs = [Batch(path, router_of(pool), ForPolicy(None)).run(output, engine) for engine in engines]
        return await asyncio.gather(*jobs, return_exceptions=True)

    done = asyncio.run(both())
    (refused,) = (result for result in done if isinstance(result, UsageError))
    assert "written by another process" in refused.message
    assert len(rows(output)) == 300


def test_an_output_that_cannot_be_written_is_told_before_anything_is_spent(tmp_path: Path) -> None:
    pool = make_pool()
    echo = Echo(pool)
    places = [tmp_path / "none" / "out.jsonl", Path("/proc/out.jsonl"), tmp_path]
    for place in places:
        with pytest.raises(UsageError) as told:
            run(write_job(tmp_path / "in.jsonl", 5), place, ForPolicy(None), echo=echo, pool=pool)
        assert told.value.param == "output"
    assert echo.asked == []


def test_a_full_disk_is_told_and_what_is_finished_is_kept(tmp_path: Path) -> None:
    path, output, pool = write_job(tmp_path / "in.jsonl"), tmp_path / "out.jsonl", make_pool()
    Batch(path, router_of(pool), None).plan(tmp_path)
    run(write_job(tmp_path / "warm.jsonl", 5), tmp_path / "warm.out.jsonl", ForPolicy(None))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
        with pytest.raises(UsageError, match="cannot be written: File too large"):
            run(path, output, ForPolicy(None), pool=pool)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, previous)
    kept = status_of(output).answered
    assert 0 < kept < 300
    echo = Echo(pool)
    run(path, output, ForPolicy(None), echo=echo, pool=pool)
    assert len(echo.asked) == 300 - kept
    assert len(rows(output)) == 300


def test_a_huge_file_is_read_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    with path.open("w") as handle:
        for i in range(200):
            handle.write(line(f"q{i}", "x" * 500_000) + "\n")
        handle.write('{"custom_id": "' + "y" * (20 << 20) + "\n")
        handle.write(line("last", "easy") + "\n")
    code = (
        "import resource, sys; from pathlib import Path; from serving.batch.reading.lines import LineReader\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "n = sum(1 for _ in LineReader(Path(sys.argv[1])))\n"
        "print(n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    n, grown_kib = map(int, done.stdout.split())
    assert n == 202
    assert grown_kib < 80_000
    faults = [item for item in LineReader(path) if isinstance(item, Fault)]
    assert [fault.code for fault in faults] == ["line_too_long"]


def test_tables_are_read_like_lines(tmp_path: Path) -> None:
    columns = {"custom_id": ["a", "b"], "prompt": ["easy one", "hard one"], "system": ["Be brief.", ""]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "in.parquet")
    with (tmp_path / "in.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    for name in ("in.parquet", "in.csv"):
        output = tmp_path / f"{name}.out.jsonl"
        run(tmp_path / name, output, ForPolicy(None))
        assert [row["custom_id"] for row in rows(output)] == ["a", "b"]
    (tmp_path / "bad.csv").write_text("question\nwhat\n")
    with pytest.raises(UsageError, match="no column 'prompt'"):
        run(tmp_path / "bad.csv", tmp_path / "bad.out.jsonl", ForPolicy(None))


CHILD = """
import sys
from pathlib import Path
from router.allocation.spending import ForBudget
from tests.serving.batch.test_batch import run
run(Path(sys.argv[1]), Path(sys.argv[2]), ForBudget(0.025))
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_again_and_again_nothing_is_lost_or_paid_twice(tmp_path: Path) -> None:
    path, calm, output = (
        write_job(tmp_path / "in.jsonl", 400),
        tmp_path / "calm.jsonl",
        tmp_path / "out.jsonl",
    )
    run(path, calm, ForBudget(0.025))
    rng, kills = random.Random(0), 0
    while not Place(output).manifest.exists():
        words = [sys.executable, "-c", CHILD, str(path), str(output)]
        child = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": os.getcwd()})
        grown = _wait_for_growth(Place(output).journal, rng.randrange(1, 120), child)
        if grown and child.poll() is None:
            child.kill()
            kills += 1
        child.wait()
    assert kills >= 3
    entries = [row for row in rows(Place(output).journal) if "output" in row]
    assert len({row["line"] for row in entries}) == len(entries)
    assert _content(output) == _content(calm)


def _wait_for_growth(journal: Path, lines: int, child: subprocess.Popen[bytes]) -> bool:
    def size() -> int:
        return journal.read_bytes().count(b"\n") if journal.exists() else 0

    first = size()
    while child.poll() is None:
        if size() >= first + lines:
            return True
        time.sleep(0.002)
    return False


def _content(path: Path) -> list[dict[str, Any]]:
    """All but the time at which the job was begun."""
    found = rows(path)
    for row in found:
        del row["response"]["body"]["created"]
    return found
