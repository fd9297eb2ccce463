"""Files and Batches through the official client: submitted, routed, owned, cancelled, resumed after kills."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from aiohttp import web
from openai import AsyncOpenAI

from serving.keys.file import write_keys
from serving.keys.key import Key, KeyRing, hashed, new_secret
from serving.run import running_gateway
from serving.settings import FileSettings, GatewaySettings, KeySettings, LedgerSettings
from tests.serving.routing import pool_of, router_of
from tests.serving.upstream import Behaviour, Upstream, upstream

GREEDY = {"temperature": 0, "max_tokens": 16}


def echoes(delay_s: float = 0.0) -> Behaviour:
    """Repeats the question after the model's name, and counts words."""

    async def behave(_: Upstream, __: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(delay_s)
        text = body["messages"][-1]["content"]
        message = {"role": "assistant", "content": f"{body['model']}: {text}"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": len(text.split()), "completion_tokens": 8, "total_tokens": 9}
        whole = {"id": "x", "object": "chat.completion", "created": 1, "model": body["model"]}
        return web.json_response({**whole, "choices": [choice], "usage": usage})

    return behave


def lines(n: int, **body: Any) -> bytes:
    words = ("easy", "hard")
    rows = []
    for i in range(n):
        messages = [{"role": "user", "content": f"{words[i % 2]} question {i}"}]
        row = {"custom_id": f"q{i:04}", "method": "POST", "url": "/v1/chat/completions"}
        rows.append(json.dumps({**row, "body": {"model": "auto", "messages": messages, **body}}))
    return "\n".join(rows).encode()


def pool_at(url: str) -> Any:
    candidates = {name: {"backend": "far", "model": name, "decoding": GREEDY} for name in ("small", "large")}
    return pool_of({"far": {"kind": "openai", "url": url}}, candidates)


@asynccontextmanager
async def desk(
    folder: Path,
    url: str,
    keys: dict[str, dict[str, Any]] | None = None,
    secrets: dict[str, str] | None = None,
    **files: Any,
) -> AsyncIterator[dict[str, AsyncOpenAI]]:
    """A gateway with files; a client for each key, or one called `all`."""
    given = {name: (secrets or {}).get(name) or new_secret(name) for name in keys or {}}
    if keys is not None:
        ring = [
            Key.model_validate({"id": n, "sha256": hashed(given[n]), **limits}) for n, limits in keys.items()
        ]
        write_keys(folder / "keys.yaml", KeyRing(keys=tuple(ring)))
    settings = GatewaySettings(
        port=0,
        drain_s=1,
        folder=folder,
        files=FileSettings.model_validate({"poll_s": 0.05, **files}),
        keys=None if keys is None else KeySettings(file=Path("keys.yaml")),
        ledger=None if keys is None else LedgerSettings(url="ledger.db", flush_s=0.01),
    )
    pool = pool_at(url)
    async with running_gateway(pool, router_of(pool), settings=settings) as base:
        clients = {
            name: AsyncOpenAI(base_url=base, api_key=secret, max_retries=0)
            for name, secret in (given or {"all": "none"}).items()
        }
        try:
            yield clients
        finally:
            for client in clients.values():
                await client.close()


async def submit(client: AsyncOpenAI, content: bytes, **more: Any) -> Any:
    file = await client.files.create(file=("lines.jsonl", content), purpose="batch")
    return await client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", **more
    )


async def over(client: AsyncOpenAI, batch_id: str) -> Any:
    async with asyncio.timeout(30):
        while True:
            batch = await client.batches.retrieve(batch_id)
            if batch.status in ("completed", "failed", "expired", "cancelled"):
                return batch
            await asyncio.sleep(0.05)


async def rows(client: AsyncOpenAI, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id is not None
    content = await client.files.content(file_id)
    return [json.loads(line) for line in content.text.splitlines()]


async def test_a_batch_is_submitted_routed_line_by_line_and_read_back(tmp_path: Path) -> None:
    async with upstream(echoes()) as far, desk(tmp_path, far.url) as clients:
        client = clients["all"]
        made = await submit(client, lines(20), metadata={"for": "me"})
        assert made.status == "validating"
        batch = await over(client, made.id)
        assert (batch.status, batch.errors, batch.error_file_id) == ("completed", None, None)
        assert batch.request_counts.model_dump() == {"total": 20, "completed": 20, "failed": 0}
        assert batch.metadata == {"for": "me"}
        assert batch.created_at <= batch.in_progress_at <= batch.finalizing_at <= batch.completed_at
        answers = await rows(client, batch.output_file_id)
        assert [row["custom_id"] for row in answers] == [f"q{i:04}" for i in range(20)]
        for i, row in enumerate(answers):
            candidate = ("small", "large")[i % 2]
            assert row["foresight"]["candidate"] == candidate
            answer = openai.types.chat.ChatCompletion.model_validate(row["response"]["body"])
            assert answer.choices[0].message.content == f"{candidate}: {('easy', 'hard')[i % 2]} question {i}"


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


async def test_a_budget_holds_for_the_whole_batch_and_a_bad_line_fails_it(tmp_path: Path) -> None:
    async with upstream(echoes()) as far, desk(tmp_path, far.url) as clients:
        client = clients["all"]
        free = await over(client, (await submit(client, lines(60))).id)
        budget = 0.6 * free.model_extra["foresight"]["cost_usd"]
        done = await over(
            client,
            (await submit(client, lines(60), extra_body={"foresight": {"budget_usd": budget}})).id,
        )
        assert done.model_extra["foresight"]["cost_usd"] <= budget
        assert done.request_counts.completed == 60
        bad = lines(3) + b"\n{nonsense\n"
        failed = await over(client, (await submit(client, bad)).id)
        assert failed.status == "failed"
        assert [(error.line, error.code) for error in failed.errors.data] == [(4, "invalid_json")]
        kept = await over(
            client, (await submit(client, bad, extra_body={"foresight": {"skip_bad": True}})).id
        )
        assert (kept.status, kept.request_counts.completed, kept.request_counts.failed) == ("completed", 3, 1)
        assert [row["line"] for row in await rows(client, kept.error_file_id)] == [4]
        poor = await submit(client, lines(60), extra_body={"foresight": {"budget_usd": 1e-9}})
        told = (await over(client, poor.id)).errors.data[0]
        assert "cheapest plan" in told.message
        assert str(tmp_path) not in told.message
        empty = await over(client, (await submit(client, b"\n")).id)
        assert "is empty" in empty.errors.data[0].message
        assert str(tmp_path) not in empty.errors.data[0].message


async def test_answers_that_look_wrong_are_asked_once_more_where_the_batch_wants_it(tmp_path: Path) -> None:
    async with upstream(echoes()) as far, desk(tmp_path, far.url) as clients:
        client = clients["all"]
        wish = {"foresight": {"self_check": True, "accept": 0.8}}  # the upstream does not tell how sure it is
        done = await over(client, (await submit(client, lines(40), extra_body=wish)).id)
        told = done.model_extra["foresight"]
        assert (done.request_counts.completed, told["doubted"], told["rechecked"]) == (40, 20, 20)
        answers = await rows(client, done.output_file_id)
        assert {row["foresight"]["candidate"] for row in answers} == {"large"}
        assert [len(row["foresight"].get("calls", [])) for row in answers] == [2, 0] * 20
        assert len(far.bodies) == 60
        assert sum(row["foresight"]["cost_usd"] for row in answers) == pytest.approx(told["cost_usd"])
        with pytest.raises(openai.BadRequestError) as refused:
            await submit(client, lines(1), extra_body={"foresight": {"self_check": True, "accept": 2}})
        assert refused.value.param == "foresight.accept"


async def test_what_cannot_be_a_batch_is_refused_at_once(tmp_path: Path) -> None:
    async with upstream(echoes()) as far, desk(tmp_path, far.url, max_file_bytes=1000) as clients:
        client = clients["all"]
        file = await client.files.create(file=("a", b"{}"), purpose="user_data")
        asked: list[tuple[dict[str, Any], str]] = [
            ({"input_file_id": "file-none"}, "input_file_id"),
            ({"input_file_id": file.id}, "input_file_id"),
            ({"endpoint": "/v1/embeddings"}, "endpoint"),
            ({"completion_window": "1h"}, "completion_window"),
            ({"extra_body": {"foresight": {"policy": "nobody"}}}, "foresight.policy"),
            ({"extra_body": {"foresight": {"budget_usd": 1, "min_accuracy": 0.5}}}, "foresight"),
        ]
        good = await client.files.create(file=("a", b"{}"), purpose="batch")
        for wrong, param in asked:
            body = {"endpoint": "/v1/chat/completions", "completion_window": "24h", "input_file_id": good.id}
            with pytest.raises(openai.BadRequestError) as told:
                await client.batches.create(**{**body, **wrong})
            assert told.value.param == param
        with pytest.raises(openai.BadRequestError):
            await client.files.create(file=("a", b"{}"), purpose="nothing")  # type: ignore[arg-type]
        with pytest.raises(openai.APIStatusError) as large:
            await client.files.create(file=("a", b"x" * 1001), purpose="batch")
        assert large.value.status_code == 413
        with pytest.raises(openai.NotFoundError):
            await client.batches.retrieve("batch_none")
        url = str(client.base_url) + "files"
        async with aiohttp.ClientSession() as http:
            for content, kind in (
                (b"{}", "application/json"),
                (b"--b\r\nnonsense", "multipart/form-data; boundary=b"),
            ):
                async with http.post(url, data=content, headers={"content-type": kind}) as response:
                    assert response.status == 400
                    assert (await response.json())["error"]["type"] == "invalid_request_error"
        assert [
            path for path in (tmp_path / "foresight-files" / "files").iterdir() if path.suffix == ".part"
        ] == []


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


async def submit_file(client: AsyncOpenAI, file_id: str) -> Any:
    return await client.batches.create(
        input_file_id=file_id, endpoint="/v1/chat/completions", completion_window="24h"
    )


async def test_a_cancelled_batch_keeps_its_answers(tmp_path: Path) -> None:
    async with upstream(echoes(0.05)) as far, desk(tmp_path, far.url, concurrency=2) as clients:
        client = clients["all"]
        made = await submit(client, lines(200))
        while len(far.bodies) < 8:
            await asyncio.sleep(0.02)
        assert (await client.batches.cancel(made.id)).status == "cancelling"
        batch = await over(client, made.id)
        assert batch.status == "cancelled"
        answers = await rows(client, batch.output_file_id)
        assert 4 <= len(answers) < 200
        with pytest.raises(openai.ConflictError):
            await client.batches.cancel(made.id)


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


SERVER = """
import asyncio, sys
from pathlib import Path
from serving.run import running_gateway
from serving.settings import FileSettings, GatewaySettings
from tests.serving.files_api.test_files_and_batches import pool_at
from tests.serving.routing import router_of

async def main():
    pool = pool_at(sys.argv[2])
    files = FileSettings(poll_s=0.05, concurrency=4)
    settings = GatewaySettings(port=0, folder=Path(sys.argv[1]), files=files)
    async with running_gateway(pool, router_of(pool), settings=settings) as url:
        print(url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def process(folder: Path, url: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, AsyncOpenAI]]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVER, str(folder), url, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    base = (await child.stdout.readline()).decode().strip()
    try:
        async with AsyncOpenAI(base_url=base, api_key="none", max_retries=0) as client:
            yield child, client
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


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
