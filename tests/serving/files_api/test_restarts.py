"""Batches outlive the gateway that began them, and no two gateways run one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.serving.files_api.desk import desk, echoes, lines, over, process, rows, submit
from tests.serving.upstream import upstream


@pytest.mark.slow
async def test_a_gateway_that_was_killed_goes_on_with_its_batches(tmp_path: Path) -> None:
    n = 120
    async with upstream(echoes(0.02)) as far:
        async with process(tmp_path, far.url) as (child, client):
            made = await submit(client, lines(n))
            while len(far.bodies) < n // 3:
                await asyncio.sleep(0.01)
            os.kill(child.pid, signal.SIGKILL)
            await child.wait()
        asked = len(far.bodies)
        async with process(tmp_path, far.url) as (_, client):
            batch = await over(client, made.id)
            assert (batch.status, batch.request_counts.completed) == ("completed", n)
            answers = await rows(client, batch.output_file_id)
        assert [row["custom_id"] for row in answers] == [f"q{i:04}" for i in range(n)]
        assert len(far.bodies) <= n + 4  # those in flight at the kill, no others, were asked again
        assert asked < n


async def test_of_two_gateways_that_share_a_folder_one_runs_the_batches(tmp_path: Path) -> None:
    async with upstream(echoes()) as far, desk(tmp_path, far.url) as first, desk(tmp_path, far.url) as second:
        made = [await submit(clients["all"], lines(10)) for clients in (first, second)]
        for batch in made:
            assert (await over(second["all"], batch.id)).status == "completed"
        assert len(far.bodies) == 20


async def test_a_pool_that_changed_meanwhile_is_told_and_answers_are_kept(tmp_path: Path) -> None:
    async with upstream(echoes(0.05)) as far:
        async with desk(tmp_path, far.url, concurrency=2) as clients:
            made = await submit(clients["all"], lines(100))
            while len(far.bodies) < 6:
                await asyncio.sleep(0.02)
        began = time.monotonic()
        path = next((tmp_path / "foresight-files" / "batches").glob("*/output.jsonl.job/journal.jsonl"))
        content = path.read_text().splitlines()
        head = json.loads(content[0])
        head["job"]["pool"] = "another"
        path.write_text("\n".join([json.dumps(head), *content[1:]]) + "\n")
        async with desk(tmp_path, far.url) as clients:
            batch = await over(clients["all"], made.id)
            assert batch.status == "failed"
            assert "the pool" in batch.errors.data[0].message
            assert len(await rows(clients["all"], batch.output_file_id)) >= 4
        assert time.monotonic() - began < 10
