"""Collecting: what is paid for once is never lost and never paid for again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from eval.collection.chat import Patience
from eval.collection.collect import JOURNAL, Collection, collect
from eval.collection.journal import Journal
from eval.outcomes import Outcomes
from eval.queries import Queries
from probes.errors import BackendError, ConfigError, DataError, UsageError
from router.configuration.pool import Pool

HASTE = Patience(attempts=3, first_pause_s=0.001, longest_pause_s=0.01, timeout_s=60)
N = 12
Reply = Callable[[dict[str, Any]], web.Response]


def right(body: dict[str, Any]) -> web.Response:
    """The large model doubles correctly, the small one only small numbers."""
    asked = int(body["messages"][-1]["content"].split()[-1])
    answer = 2 * asked if body["model"] == "large" or asked < 5 else -1
    usage = {"prompt_tokens": 10, "completion_tokens": 4}
    choice = {"message": {"role": "assistant", "content": f"It is {answer}."}, "finish_reason": "stop"}
    return web.json_response({"choices": [choice], "usage": usage})


class Backend:
    """A real HTTP server in a thread, counting what it is asked."""

    def __init__(self) -> None:
        self.asked: Counter[tuple[str, str]] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[str | None] = []
        self.reply: Reply = right
        self.delay_s = 0.0
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(request.headers.get("Authorization"))
        self.asked[body["model"], body["messages"][-1]["content"]] += 1
        await asyncio.sleep(self.delay_s)
        return self.reply(body)

    async def _serve(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/v1"
        self._stop = asyncio.Event()
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    def __enter__(self) -> Backend:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend() as running:
        yield running


def questions(n: int = N) -> Queries:
    return Queries.build([f"Double {i}" for i in range(n)], references=[str(2 * i) for i in range(n)])


def pool(url: str, **backend: str) -> Pool:
    candidates = [
        {
            "name": name,
            "model": name,
            "backend": "remote",
            "context_tokens": 100,
            "price": {"usd_per_mtok_in": price, "usd_per_mtok_out": 2 * price},
            "decoding": {"temperature": 0.5, "seed": 7, "chat_template_kwargs": {"enable_thinking": True}},
        }
        for name, price in (("small", 1), ("large", 10))
    ]
    data = {
        "candidates": candidates,
        "backends": {"remote": {"kind": "openai", "url": url} | backend},
        "scout": {"model": "ladder-s"},
    }
    return Pool.parse(data, folder=Path())


def run(pool: Pool, folder: Path, queries: Queries | None = None, **options: Any) -> Collection:
    queries = queries or questions()
    return asyncio.run(collect(pool, queries, folder, patience=HASTE, **options))


def test_every_candidate_is_asked_graded_and_charged(backend: Backend, tmp_path: Path) -> None:
    ticks: list[tuple[int, int]] = []
    result = run(pool(backend.url), tmp_path / "set", progress=lambda *tick: ticks.append(tick))
    assert (result.calls, result.reused, result.failures) == (2 * N, 0, ())
    assert ticks == [(i + 1, 2 * N) for i in range(2 * N)]
    stored = Outcomes.load(tmp_path / "set")
    assert stored.candidates == ("small", "large")
    np.testing.assert_array_equal(stored.correct[:, 1], 1)
    np.testing.assert_array_equal(stored.correct[:, 0], np.arange(N) < 5)
    np.testing.assert_allclose(stored.cost_usd, np.tile([18e-6, 180e-6], (N, 1)))
    assert stored.prices["large"].usd_per_mtok_out == 20
    assert (stored.latency_s > 0).all()
    np.testing.assert_array_equal(stored.correct, result.outcomes.correct)
    body = backend.bodies[0]
    assert body["temperature"] == 0.5
    assert body["chat_template_kwargs"] == {"enable_thinking": True}


def test_samples_are_averaged_and_seeds_move_on(backend: Backend, tmp_path: Path) -> None:
    def sometimes(body: dict[str, Any]) -> web.Response:
        return right(body | {"model": "large" if body["seed"] == 7 else "small"})

    backend.reply = sometimes
    stored = run(pool(backend.url), tmp_path, questions(8), samples=4).outcomes
    np.testing.assert_array_equal(stored.samples, 4)
    np.testing.assert_array_equal(stored.correct[:, 0], np.where(np.arange(8) < 5, 1, 0.25))
    assert {body["seed"] for body in backend.bodies} == {7, 8, 9, 10}


def test_a_second_run_asks_nothing(backend: Backend, tmp_path: Path) -> None:
    first = run(pool(backend.url), tmp_path)
    table = (tmp_path / "outcomes.csv").read_bytes()
    second = run(pool(backend.url), tmp_path)
    assert (second.calls, second.reused) == (0, 2 * N)
    assert set(backend.asked.values()) == {1}
    assert (tmp_path / "outcomes.csv").read_bytes() == table
    np.testing.assert_array_equal(first.outcomes.correct, second.outcomes.correct)


KILLED = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from eval.collection.collect import collect
from test_collect import pool, questions
asyncio.run(collect(pool(sys.argv[1]), questions(), sys.argv[2], concurrency=4))
"""


def test_kill_9_loses_and_repeats_no_finished_call(backend: Backend, tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    paths = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    backend.delay_s = 0.02
    folder = tmp_path / "set"
    command = [sys.executable, "-c", KILLED, backend.url, str(folder), str(Path(__file__).parent)]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": paths}, cwd=root)
    journal = folder / JOURNAL
    deadline = time.monotonic() + 100
    while not (journal.exists() and journal.read_text().count("\n") >= 9):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = [json.loads(line) for line in journal.read_text().split("\n")[:-1]]
    assert 9 <= len(finished) < 2 * N
    assert not (folder / "outcomes.csv").exists()
    with journal.open("a") as handle:
        handle.write('{"query_id": "q3", "torn')
    before = backend.asked.copy()
    result = run(pool(backend.url), folder)
    assert result.reused == len(finished)
    for answer in finished:
        key = (answer["candidate"], f"Double {answer['query_id'][1:]}")
        assert backend.asked[key] == before[key] == 1
    assert sum(backend.asked.values()) <= 2 * N + 4
    assert set(backend.asked.values()) <= {1, 2}
    np.testing.assert_array_equal(Outcomes.load(folder).correct[:, 1], 1)
    keys = [(row["query_id"], row["candidate"]) for row in map(json.loads, journal.read_text().splitlines())]
    assert len(keys) == len(set(keys)) == 2 * N


def test_trouble_that_passes_is_tried_again(backend: Backend, tmp_path: Path) -> None:
    def busy_first(body: dict[str, Any]) -> web.Response:
        count = backend.asked[body["model"], body["messages"][-1]["content"]]
        if count == 1:
            return web.Response(status=429, headers={"Retry-After": "0"})
        return web.Response(status=503) if count == 2 else right(body)

    backend.reply = busy_first
    result = run(pool(backend.url), tmp_path)
    assert result.failures == ()
    assert set(backend.asked.values()) == {3}


@pytest.mark.parametrize("status", [400, 413, 500])
def test_one_refused_question_leaves_a_gap_and_is_tried_by_the_next_run(
    backend: Backend, tmp_path: Path, status: int
) -> None:
    def picky(body: dict[str, Any]) -> web.Response:
        hard = body["messages"][-1]["content"] == "Double 3"
        return web.json_response({"error": "too long"}, status=status) if hard else right(body)

    backend.reply = picky
    result = run(pool(backend.url), tmp_path)
    assert {failure.key.query_id for failure in result.failures} == {"q3"}
    assert "too long" in result.failures[0].reason
    assert np.argwhere(np.isnan(result.outcomes.correct)).tolist() == [[3, 0], [3, 1]]
    backend.reply = right
    assert run(pool(backend.url), tmp_path).calls == 2


def test_a_backend_that_refuses_everything_is_given_up(backend: Backend, tmp_path: Path) -> None:
    backend.reply = lambda body: web.Response(status=400, text="no such parameter")
    with pytest.raises(BackendError, match=r"refused 20 calls in a row .*no such parameter"):
        run(pool(backend.url), tmp_path, questions(30), concurrency=2)
    assert not (tmp_path / "outcomes.csv").exists()


@pytest.mark.parametrize("status", [401, 404])
def test_a_misconfigured_backend_is_an_error_at_once(backend: Backend, tmp_path: Path, status: int) -> None:
    backend.reply = lambda body: web.Response(status=status, text="nope")
    with pytest.raises(BackendError, match=rf"refuses every request .HTTP {status}: nope"):
        run(pool(backend.url), tmp_path, concurrency=1)
    assert sum(backend.asked.values()) == 1


def test_something_that_is_no_chat_completion_is_an_error(backend: Backend, tmp_path: Path) -> None:
    backend.reply = lambda body: web.Response(text="<html>hello</html>")
    with pytest.raises(BackendError, match="sent no chat completion: '<html>"):
        run(pool(backend.url), tmp_path)


def test_a_dead_backend_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="did not answer in 3 attempts") as caught:
        run(pool("http://127.0.0.1:9/v1"), tmp_path)
    assert "same command" in str(caught.value.hint)
    assert {path.name for path in tmp_path.iterdir()} == {JOURNAL}


def test_a_changed_question_is_not_mixed_with_old_answers(backend: Backend, tmp_path: Path) -> None:
    run(pool(backend.url), tmp_path)
    changed = Queries.build([f"Twice {i}" for i in range(N)], references=["0"] * N)
    with pytest.raises(DataError, match=r"answered 'q0' under another prompt"):
        run(pool(backend.url), tmp_path, changed)


def test_two_collections_never_share_a_folder(backend: Backend, tmp_path: Path) -> None:
    with Journal(tmp_path / JOURNAL), pytest.raises(UsageError, match="written by another process"):
        run(pool(backend.url), tmp_path)


def test_a_foreign_journal_is_refused(backend: Backend, tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_text('{"query_id": "q1"}\n')
    with pytest.raises(DataError, match="line 1: not a collected answer"):
        run(pool(backend.url), tmp_path)


def test_the_key_comes_from_the_environment(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secured = pool(backend.url, api_key_env="COLLECT_TEST_KEY")
    with pytest.raises(ConfigError, match="COLLECT_TEST_KEY is not set"):
        run(secured, tmp_path)
    monkeypatch.setenv("COLLECT_TEST_KEY", "sesame")
    run(secured, tmp_path)
    assert set(backend.headers) == {"Bearer sesame"}
    assert "sesame" not in (tmp_path / JOURNAL).read_text()


def test_nothing_is_asked_before_everything_can_be_graded(backend: Backend, tmp_path: Path) -> None:
    cases = [
        (Queries.build(["p"]), "'q0' has no reference"),
        (Queries.build(["p"], references=["x"], extras=[{"grader": "vibes"}]), "no grader 'vibes'"),
        (Queries.build(["p"], references=["x"], extras=[{"grader": "number"}]), "needs a number"),
    ]
    for queries, message in cases:
        with pytest.raises(UsageError, match=message):
            run(pool(backend.url), tmp_path, queries)
    with pytest.raises(UsageError, match="at least 1"):
        run(pool(backend.url), tmp_path, samples=0)
    assert not backend.asked
