"""Jobs whose first answers are looked at: who is asked again, what is paid; a stop changes nothing."""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from probes.errors import BackendError, UsageError
from router.allocation.allocation import Worth
from router.allocation.doubt import likeliest, reopened, second_look
from router.allocation.spending import ForAccuracy, ForBudget, ForPolicy, Goal, Spending
from router.cli.run.batch import app
from router.configuration.pool import Pool
from router.policies import Bar
from serving.batch.batch import Batch
from serving.batch.place import Place
from serving.batch.running.engine import LocalEngine
from serving.batch.running.reply import Reply
from serving.batch.status import status_of
from serving.batch.summary import Plan, Summary
from serving.http.errors import ApiError
from serving.http.protocol import Query
from tests.serving.batch.test_batch import (
    _content,
    _wait_for_growth,
    line,
    make_pool,
    rows,
    write_job,
)
from tests.serving.routing import router_of

BAR = Bar(0.7)
DEAREST_USD = (3 + 16 * 2) * 10 / 1e6
"""Of one answer: three words in, sixteen tokens out, of `large`."""


class Stopped(Exception):
    """The machine was switched off."""


class Wavering:
    """A candidate that tells how sure it is: of a question alone, sure of about half of them.

    Parameters
    ----------
    pool
        Its prices.
    tells
        Whether it knows log-probabilities at all; `refuse`: it does not know the field.
    fail_second
        The status that all but `small` answer with.
    stop_after
        Calls after which the process ends.
    """

    def __init__(
        self, pool: Pool, *, tells: Any = True, fail_second: int | None = None, stop_after: int | None = None
    ) -> None:
        self.asked: list[tuple[str, str]] = []
        self._pool, self._tells, self._fail, self._stop = pool, tells, fail_second, stop_after

    async def ask(self, query: Query, candidate: str) -> Reply:
        text = query.body["messages"][-1]["content"]
        if query.body.get("logprobs") and self._tells == "refuse":
            raise ApiError(400, "unknown field: logprobs")
        self.asked.append((text, candidate))
        await asyncio.sleep(random.random() / 1000)
        if self._stop is not None and len(self.asked) > self._stop:
            raise Stopped
        if self._fail is not None and candidate != "small":
            raise ApiError(self._fail, "no")
        length = 4 + sum(map(ord, text + candidate)) % 9
        choice: dict[str, Any] = {"message": {"role": "assistant", "content": f"{candidate}: {text}"}}
        if query.body.get("logprobs") and self._tells is True:
            told = math.log(0.9 if sure(text) else 0.5)
            choice["logprobs"] = {"content": [{"token": "x", "logprob": told}] * length}
        return Reply({"object": "chat.completion", "choices": [choice]}, len(text.split()), length)


def sure(text: str) -> bool:
    return sum(map(ord, text)) % 2 == 0


def run(
    path: Path,
    output: Path,
    goal: Goal,
    *,
    bar: Bar | None = BAR,
    asker: Wavering | None = None,
    pool: Pool | None = None,
) -> Summary:
    pool = pool or make_pool()
    engine = LocalEngine(pool, asker or Wavering(pool), concurrency=8)
    return asyncio.run(Batch(path, router_of(pool), goal, self_check=bar).run(output, engine))


def plan(path: Path, goal: Goal, bar: Bar | None = BAR) -> Plan:
    return Batch(path, router_of(make_pool()), goal, self_check=bar).plan(path.parent)


def text_of(row: dict[str, Any]) -> str:
    return str(row["response"]["body"]["choices"][0]["message"]["content"])


def test_an_answer_in_doubt_is_asked_once_more_and_both_calls_are_told(tmp_path: Path) -> None:
    path, output, pool = write_job(tmp_path / "in.jsonl", 40), tmp_path / "out.jsonl", make_pool()
    asker = Wavering(pool)
    summary = run(path, output, ForPolicy(None), asker=asker, pool=pool)
    answers = rows(output)
    assert len(answers) == summary.answered == 40
    for row in answers:
        candidate, _, text = text_of(row).rpartition(": ")
        told, cost_usd = row["foresight"], row["foresight"]["cost_usd"]
        assert told["candidate"] == candidate
        assert "logprobs" not in row["response"]["body"]["choices"][0]
        calls = told.get("calls", [])
        assert [call["kept"] for call in calls] == [False] * (len(calls) - 1) + [True] * bool(calls)
        assert sum(call["cost_usd"] for call in calls) == pytest.approx(cost_usd if calls else 0.0)
        easy = text.startswith("easy")  # the policy gives hard ones to the likeliest at once
        assert len(calls) == (0 if not easy else 1 if sure(text) else 2)
        assert candidate == ("small" if easy and sure(text) else "large")
    assert (
        summary.doubted
        == summary.rechecked
        == sum(len(r["foresight"].get("calls", [])) == 2 for r in answers)
    )
    assert len(asker.asked) == 40 + summary.rechecked
    assert summary.cost_usd == pytest.approx(sum(row["foresight"]["cost_usd"] for row in answers))
    assert {call["reason"] for row in answers for call in row["foresight"].get("calls", [])} == {
        "confidence 0.90 reaches 0.70",
        "confidence 0.50 is below 0.70",
        "likelier than the first; nobody is asked a third time",
    }
    found = status_of(output)
    assert (found.answered, found.rechecked) == (40, summary.rechecked)
    assert found.spent_usd == pytest.approx(summary.cost_usd)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.7, 1.0, 3.0])
def test_second_answers_never_break_a_budget_or_cost_a_line_its_first(tmp_path: Path, share: float) -> None:
    path = write_job(tmp_path / "in.jsonl", 400)
    ways = plan(path, ForPolicy(None)).ways
    assert ways is not None
    low, high = ways.cheapest.cost_usd, ways.best.cost_usd
    budget = 1.1 * low + share * (high - low)
    summary = run(path, tmp_path / "out.jsonl", ForBudget(budget))
    assert (summary.answered, summary.failed) == (400, 0)
    assert summary.cost_usd <= budget + DEAREST_USD
    assert summary.rechecked <= summary.doubted
    if share == 3.0:
        assert summary.doubted == 0  # everybody is asked of the likeliest at once
    elif share <= 0.3:
        assert 0 < summary.rechecked < summary.doubted
        assert summary.cost_usd >= 0.9 * budget


def test_a_floor_asks_again_wherever_there_is_doubt(tmp_path: Path) -> None:
    path = write_job(tmp_path / "in.jsonl", 200)
    checked = run(path, tmp_path / "a.jsonl", ForAccuracy(0.87))
    plain = run(path, tmp_path / "b.jsonl", ForAccuracy(0.87), bar=None)
    assert checked.rechecked == checked.doubted > 0
    assert plain.doubted == plain.rechecked == 0
    assert checked.cost_usd > plain.cost_usd
    assert checked.accuracy > plain.accuracy >= 0.87
    assert not any("calls" in row["foresight"] for row in rows(tmp_path / "b.jsonl"))


def test_where_nobody_is_likelier_nobody_is_asked_again(tmp_path: Path) -> None:
    path, pool = tmp_path / "in.jsonl", make_pool()
    texts = [f"easy question {i}" for i in range(40)]
    texts = [text for text in texts if not sure(text)][:3]
    path.write_text(
        "\n".join(
            [
                line("named", texts[0], model="small"),
                line("best", texts[1], model="auto:best"),
                line("asks", texts[2], logprobs=True),
            ]
        )
    )
    asker = Wavering(pool)
    run(path, tmp_path / "out.jsonl", ForPolicy(None), asker=asker, pool=pool)
    by_id = {row["custom_id"]: row for row in rows(tmp_path / "out.jsonl")}
    named, best, asks = by_id["named"], by_id["best"], by_id["asks"]
    assert not {"calls"} & {*named["foresight"], *best["foresight"]}
    assert len(asks["foresight"]["calls"]) == 2
    assert len(asker.asked) == 4
    assert "logprobs" in asks["response"]["body"]["choices"][0]  # its client asked for them


@pytest.mark.parametrize("tells", [False, "refuse"])
def test_an_answer_that_does_not_tell_how_sure_it_is_is_in_doubt(tmp_path: Path, tells: Any) -> None:
    path, pool = write_job(tmp_path / "in.jsonl", 20), make_pool()
    summary = run(path, tmp_path / "out.jsonl", ForPolicy(None), asker=Wavering(pool, tells=tells), pool=pool)
    assert summary.answered == 20
    assert summary.rechecked == 10  # the easy ones: hard ones went to the likeliest
    reasons = {row["foresight"]["calls"][0]["reason"] for row in rows(tmp_path / "out.jsonl")[::2]}
    assert reasons == {"it does not tell how sure it is"}


def test_the_first_answer_stands_where_the_second_fails(tmp_path: Path) -> None:
    path, pool = tmp_path / "in.jsonl", make_pool()
    path.write_text("".join(line(f"q{i}", f"easy question {i}") + "\n" for i in range(12)))
    doubted = sum(not sure(f"easy question {i}") for i in range(12))
    for status, again in ((503, doubted), (400, 0)):
        output = tmp_path / f"{status}.jsonl"
        failing = Wavering(pool, fail_second=status)
        summary = run(path, output, ForPolicy(None), asker=failing, pool=pool)
        assert (summary.answered, summary.failed, summary.rechecked) == (12, 0, 0)
        assert summary.doubted == doubted
        assert all(row["foresight"]["candidate"] == "small" for row in rows(output))
        asker = Wavering(pool)
        assert run(path, output, ForPolicy(None), asker=asker, pool=pool).rechecked == again
        assert len(asker.asked) == again


def test_a_dead_second_candidate_stops_the_job_and_it_goes_on(tmp_path: Path) -> None:
    path, output, pool = tmp_path / "in.jsonl", tmp_path / "out.jsonl", make_pool()
    path.write_text("".join(line(f"q{i}", f"easy question {i}") + "\n" for i in range(80)))
    with pytest.raises(BackendError, match="large failed 20 times in a row"):
        run(path, output, ForPolicy(None), asker=Wavering(pool, fail_second=503), pool=pool)
    assert status_of(output).answered == 80
    asker = Wavering(pool)
    summary = run(path, output, ForPolicy(None), asker=asker, pool=pool)
    assert len(asker.asked) == summary.rechecked == summary.doubted


@settings(max_examples=12, deadline=None)
@given(stops=st.lists(st.integers(0, 90), min_size=1, max_size=4), share=st.floats(0.1, 1.2))
def test_a_job_that_was_stopped_ends_as_if_it_had_not_been(stops: list[int], share: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, calm, output = write_job(folder / "in.jsonl", 120), folder / "calm.jsonl", folder / "out.jsonl"
        goal = ForBudget(0.002 + 0.012 * share)
        summary = run(path, calm, goal)
        for stop in stops:
            pool = make_pool()
            try:
                run(path, output, goal, asker=Wavering(pool, stop_after=stop), pool=pool)
            except Stopped:
                continue
        again = run(path, output, goal)
        assert _content(output) == _content(calm)
        assert again.cost_usd == pytest.approx(summary.cost_usd)
        assert (again.doubted, again.rechecked) == (summary.doubted, summary.rechecked)
        entries = [(row["line"], "again" in row) for row in rows(Place(output).journal) if "output" in row]
        assert len(set(entries)) == len(entries)


def test_a_self_check_is_one_of_the_terms_of_a_job(tmp_path: Path) -> None:
    path, output = write_job(tmp_path / "in.jsonl", 10), tmp_path / "out.jsonl"
    run(path, output, ForPolicy(None))
    for bar in (None, Bar(0.5)):
        with pytest.raises(UsageError, match=r"changed since: .*self-check"):
            run(path, output, ForPolicy(None), bar=bar)


def test_the_preview_says_what_a_self_check_may_cost(tmp_path: Path) -> None:
    path = write_job(tmp_path / "in.jsonl", 100)
    told = plan(path, ForPolicy(None))
    assert told.second_look is not None
    assert told.chosen is not None
    assert told.second_look.lines == told.chosen.lines["small"] == 50
    likeliest_usd = sum(0.5 * single.cost_usd for single in told.ways.singles[2:]) if told.ways else 0
    assert told.second_look.cost_usd == pytest.approx(likeliest_usd)
    assert json.loads(json.dumps(told.to_dict()))["second_look"]["lines"] == 50
    assert plan(path, ForPolicy(None), bar=None).second_look is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "in.jsonl", "-o", "out.jsonl", "--budget", "1", "--accept", "0.7"], "--accept is for"),
        (
            ["run", "in.jsonl", "-o", "out.jsonl", "--budget", "1", "--self-check", "--accept", "7"],
            "accept must",
        ),
        (["plan", "in.jsonl", "--self-check"], "planned for one goal"),
    ],
)
def test_the_command_refuses_a_self_check_that_makes_no_sense(words: list[str], told: str) -> None:
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, UsageError)
    assert told in done.exception.message


@given(seed=st.integers(0, 10_000), n=st.integers(1, 30), k=st.integers(2, 5), share=st.floats(0, 1.5))
def test_a_budget_decides_together_who_is_asked_again(seed: int, n: int, k: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    worth = Worth.of(rng.random((n, k)), rng.random((n, k)), (rng.random((n, k)) < 0.7) | (np.arange(k) == 0))
    first = np.where(worth.able[-1], k - 1, 0)
    paid = worth.cost_usd[first, np.arange(n)]
    more = second_look(worth, first)
    spending = Spending(worth, ForBudget(float(paid.sum() + share * more.cost_usd)), np.full(n, -1))
    spending.paid(np.arange(n), first, paid)
    spending.doubt(np.arange(n), first)
    nobody = np.array([], dtype=np.intp)
    index = spending.plan_again(spending.doubted, nobody, nobody)
    asked = np.flatnonzero(index >= 0)
    assert (worth.success[index[asked], asked] > worth.success[first[asked], asked]).all()
    assert worth.cost_usd[index[asked], asked].sum() <= share * more.cost_usd * (1 + 1e-6) + 1e-9
    if share >= 1.001:
        assert (np.where(index < 0, first, index) == likeliest(reopened(worth, first))).all()
    spending.paid(asked, index[asked], worth.cost_usd[index[asked], asked])
    assert set(spending.doubted) == set(range(n)) - set(asked.tolist())


CHILD = """
import sys
from pathlib import Path
from router.allocation.spending import ForBudget
from tests.serving.batch.test_self_check import run
run(Path(sys.argv[1]), Path(sys.argv[2]), ForBudget(0.012))
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_while_it_asks_again_nothing_is_lost_or_paid_twice(tmp_path: Path) -> None:
    path, calm, output = (
        write_job(tmp_path / "in.jsonl", 200),
        tmp_path / "calm.jsonl",
        tmp_path / "out.jsonl",
    )
    summary = run(path, calm, ForBudget(0.012))
    assert 0 < summary.rechecked < summary.doubted
    steps, kills = iter([150, 60, 15, 10_000]), 0
    while not Place(output).manifest.exists():
        words = [sys.executable, "-c", CHILD, str(path), str(output)]
        child = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": os.getcwd()})
        if _wait_for_growth(Place(output).journal, next(steps), child) and child.poll() is None:
            child.kill()
            kills += 1
        child.wait()
    assert kills >= 2
    entries = [(row["line"], "again" in row) for row in rows(Place(output).journal) if "output" in row]
    assert len(set(entries)) == len(entries) == 200 + summary.rechecked
    assert _content(output) == _content(calm)
