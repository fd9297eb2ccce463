"""Killed again and again over real vLLM: is every line answered once, and its money counted once?"""

from __future__ import annotations

import math
import random
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml

from eval.benchmarks.batch.jobs import SEED, batch, read_rows, standing_pool, texts, write_lines
from eval.benchmarks.gateway.rig.processes import foresight
from eval.benchmarks.row import Row, Setting
from eval.ladder.questions import draw

LINES, KILLS = 2_000, 50
QUICK_LINES, QUICK_KILLS = 80, 1
EARLY = 0.2
"""Share of the kills that may come before the first answer; the others in the midst of answers."""
EARLY_S = 8.0
BUDGET_USD_PER_LINE = 2.4e-6
_ANSWERED = re.compile(r'^foresight_requests_total\{.*outcome="ok".*\} (\S+)', re.MULTILINE)


def rows(setting: Setting) -> Iterator[Row]:
    """One row: a job killed so often, beside one that was left alone."""
    n, kills = (QUICK_LINES, QUICK_KILLS) if setting.quick else (LINES, KILLS)
    folder = setting.work / "batch" / f"kills-{n}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    source = write_lines(draw(n, SEED + 1), folder / "lines.jsonl")
    with standing_pool(folder) as (pool, router):
        words = ("--pool", pool, "--router", router, "--budget", BUDGET_USD_PER_LINE * n, "--concurrency", 16)
        calm = batch("run", source, "-o", folder / "calm.jsonl", *words)
        before = _answers(pool)
        killed = _killed(folder, ("run", source, "-o", folder / "killed.jsonl", *words), n, kills)
        summary = batch("run", source, "-o", folder / "killed.jsonl", *words)
        asked = _answers(pool) - before
    yield _row(folder, n, (killed, kills), asked, (calm["cost_usd"], summary["cost_usd"]))


def _killed(folder: Path, words: tuple[object, ...], n: int, kills: int) -> int:
    """Start the job and kill it, so often, or until it is done; how often it was killed."""
    rng, done = random.Random(SEED), 0
    journal = folder / "killed.jsonl.job" / "journal.jsonl"
    while done < kills and not journal.with_name("manifest.json").exists():
        with (folder / "killed.log").open("ab") as log:
            child = subprocess.Popen(foresight("batch", *words), stdout=log, stderr=log)
            early = rng.random() < EARLY
            lines, most_s = rng.randrange(1, max(2, n // kills)), rng.random() * EARLY_S
            _await_growth(journal, lines, child, most_s if early else math.inf)
            if child.poll() is None:
                child.send_signal(signal.SIGKILL)
                done += 1
            child.wait()
    return done


def _await_growth(journal: Path, lines: int, child: subprocess.Popen[bytes], most_s: float) -> None:
    """Wait until so many lines have come, so many seconds have gone, or the job is over."""
    deadline = time.monotonic() + most_s

    def size() -> int:
        return journal.read_bytes().count(b"\n") if journal.exists() else 0

    first = size()
    while child.poll() is None and size() < first + lines and time.monotonic() < deadline:
        time.sleep(0.01)


def _answers(pool: Path) -> int:
    """Answers that the standing servers have given, by their own count."""
    backends = yaml.safe_load(pool.read_text(encoding="utf-8"))["backends"]
    url = next(iter(backends.values()))["url"].removesuffix("/v1")
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as response:
        return int(sum(float(count) for count in _ANSWERED.findall(response.read().decode())))


def _row(folder: Path, n: int, kills: tuple[int, int], asked: int, costs: tuple[float, float]) -> Row:
    calm, rows_ = read_rows(folder / "calm.jsonl"), read_rows(folder / "killed.jsonl")
    journal = read_rows(folder / "killed.jsonl.job" / "journal.jsonl")
    once = len({row["line"] for row in journal[1:]}) == len(journal) - 1 == len(rows_) == n
    counted = float(np.sum([row["foresight"]["cost_usd"] for row in rows_]))
    money = bool(np.isclose(counted, costs[1]))
    same = sum(answer == texts(calm)[name] for name, answer in texts(rows_).items())
    return Row(
        f"{kills[0]} random kill −9 during a job of {n:,} lines over vLLM",
        "all lines answered once, money counted once",
        f"{len(rows_):,} answered, {len(journal) - 1:,} in the journal; ${counted:.5g} counted"
        f" (undisturbed ${costs[0]:.5g}); {same:,} answers as in the undisturbed job;"
        f" {asked - n} answers in flight at a kill were asked again",
        once and money and kills[0] == kills[1],
    )
