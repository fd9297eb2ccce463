"""Batches through the official client: submitted, routed by line, within a budget, checked, cancelled."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from tests.serving.files_api.desk import desk, echoes, lines, over, rows, submit
from tests.serving.upstream import upstream


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
