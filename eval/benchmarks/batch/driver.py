"""How many lines a second one driver plans, sends and journals: a job over a server that answers at once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import yaml

from eval.benchmarks.batch.jobs import LADDER, POOL, SEED, batch, write_lines
from eval.benchmarks.gateway.rig.processes import free_port, python, running
from eval.benchmarks.row import Setting
from eval.ladder.questions import draw

LINES, QUICK_LINES = 4_000, 300
UPSTREAM = Path(__file__).parents[1] / "gateway" / "rig" / "upstream.py"


def driver_rate(setting: Setting) -> float:
    """Lines for each second of the driver's processor time; reading the prompts is not counted."""
    n = QUICK_LINES if setting.quick else LINES
    folder = setting.work / "batch" / f"driver-{n}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    source = write_lines(draw(n, SEED + 4), folder / "lines.jsonl")
    port = free_port()
    everywhere = os.sched_getaffinity(0)
    with running(python(UPSTREAM, port), port, log=folder / "upstream.log", cores=everywhere) as upstream:
        settings = yaml.safe_load(POOL.read_text(encoding="utf-8"))
        far = {"kind": "openai", "url": f"{upstream.url}/v1"}
        settings["backends"] = dict.fromkeys(settings["backends"], far)
        pool = folder / "pool.yaml"
        pool.write_text(yaml.safe_dump(settings), encoding="utf-8")
        words = ("--pool", pool, "--router", LADDER / "router", "--policy", "value")
        summary = batch("run", source, "-o", folder / "answers.jsonl", *words)
    return float(summary["answered"]) / float(summary["driver_s"])
