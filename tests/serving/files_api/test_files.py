"""Files through the official client: kept, listed, deleted, owned by a key, and never held in memory."""

from __future__ import annotations

import resource
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from tests.serving.files_api.desk import desk, echoes, lines, over, rows, submit, submit_file
from tests.serving.upstream import upstream


async def test_files_are_kept_listed_and_deleted(tmp_path: Path) -> None:
    async with upstream(echoes()) as far, desk(tmp_path, far.url) as clients:
        client = clients["all"]
        assert [file async for file in client.files.list()] == []
        assert not (tmp_path / "foresight-files").exists()
        made = [
            await client.files.create(file=(f"../a/{i}.jsonl", b"x" * i), purpose="batch") for i in (1, 2, 3)
        ]
        assert [(file.bytes, file.filename, file.purpose) for file in made] == [
            (i, f"{i}.jsonl", "batch") for i in (1, 2, 3)
        ]
        page = await client.files.list(limit=2)
        assert [file.id for file in page.data] == [made[2].id, made[1].id]
        assert [file.id async for file in client.files.list(limit=2)] == [file.id for file in reversed(made)]
        assert [file.id async for file in client.files.list(order="asc")] == [file.id for file in made]
        assert [file.id async for file in client.files.list(purpose="evals")] == []
        assert (await client.files.retrieve(made[0].id)) == made[0]
        assert (await client.files.content(made[1].id)).content == b"xx"
        assert (await client.files.delete(made[0].id)).deleted
        with pytest.raises(openai.NotFoundError) as gone:
            await client.files.content(made[0].id)
        assert gone.value.code == "file_not_found"
        with pytest.raises(openai.NotFoundError):
            await client.files.retrieve("../../keys.yaml")


async def test_each_key_sees_its_own_and_is_held_to_its_candidates_and_its_budget(tmp_path: Path) -> None:
    keys: dict[str, dict[str, Any]] = {
        "team": {"candidates": ["small"]},
        "other": {},
        "poor": {"usd_per_day": 5e-5},
    }
    async with upstream(echoes()) as far, desk(tmp_path, far.url, keys, concurrency=1) as clients:
        team, other, poor = clients["team"], clients["other"], clients["poor"]
        batch = await over(team, (await submit(team, lines(6))).id)
        chosen = {row["foresight"]["candidate"] for row in await rows(team, batch.output_file_id)}
        assert chosen == {"small"}
        for look in (
            other.batches.retrieve(batch.id),
            other.batches.cancel(batch.id),
            other.files.content(batch.output_file_id),
            other.files.delete(batch.input_file_id),
            submit_file(other, batch.input_file_id),
        ):
            with pytest.raises((openai.NotFoundError, openai.BadRequestError)):
                await look
        assert [found async for found in other.batches.list()] == []
        assert [found.id async for found in team.batches.list()] == [batch.id]
        named = await over(team, (await submit(team, lines(2, model="large"))).id)
        assert [error.code for error in named.errors.data] == ["candidate_not_allowed"] * 2
        spent = await over(poor, (await submit(poor, lines(10, model="small"))).id)
        assert 0 < spent.request_counts.completed < 10
        failed = await rows(poor, spent.error_file_id)
        assert {row["error"]["code"] for row in failed} == {"insufficient_quota"}
        assert spent.request_counts.completed + len(failed) == 10
        with pytest.raises(openai.RateLimitError):  # no money: no batch, but what there is can be ended
            await submit(poor, lines(1))
        with pytest.raises(openai.ConflictError):
            await poor.batches.cancel(spent.id)


async def test_a_large_file_goes_to_disk_and_not_to_memory(tmp_path: Path) -> None:
    size = 192 << 20

    async def parts() -> AsyncIterator[bytes]:
        yield b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        yield b'--b\r\ncontent-disposition: form-data; name="file"; filename="big"\r\n\r\n'
        for _ in range(size >> 16):
            yield b"x" * (1 << 16)
        yield b"\r\n--b--\r\n"

    async with upstream(echoes()) as far, desk(tmp_path, far.url) as clients, aiohttp.ClientSession() as http:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        headers = {"content-type": "multipart/form-data; boundary=b"}
        url = str(clients["all"].base_url) + "files"
        async with http.post(url, data=parts(), headers=headers) as response:
            assert (await response.json())["bytes"] == size
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 48 << 10
