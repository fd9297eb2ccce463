"""The Responses API: the official client must not notice that chat completions answer it."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import AsyncOpenAI, OpenAI

from serving.http.errors import ApiError
from serving.responses_api.answer import whole
from serving.responses_api.request import chat_body, messages_of
from serving.responses_api.stream import ResponseEvents
from tests.serving.conftest import behind
from tests.serving.upstream import ANSWER, answers, chunk, cuts, streams

USAGE = (
    b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7,'
    b'"prompt_tokens_details":{"cached_tokens":3}}}\n\n'
)
DONE = b"data: [DONE]\n\n"


def piece(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def official(url: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=url, api_key="none", max_retries=0)


class TestClient:
    def test_a_whole_answer(self, client: OpenAI) -> None:
        answer = client.responses.create(model="auto", input="what is seven plus five")

        assert answer.object == "response"
        assert answer.output_text
        assert answer.status == "incomplete"  # the tiny model never ends by itself
        assert answer.incomplete_details is not None
        assert answer.incomplete_details.reason == "max_output_tokens"
        assert answer.usage is not None
        assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens

    def test_a_stream_says_what_the_whole_answer_says(self, client: OpenAI) -> None:
        question = {"model": "auto", "input": [{"role": "user", "content": "what is seven plus five"}]}
        whole_text = client.responses.create(**question).output_text  # type: ignore[call-overload]
        with client.responses.stream(**question) as stream:  # type: ignore[arg-type]
            events = list(stream)
        final = events[-1].response  # type: ignore[union-attr]

        assert final.output_text == whole_text
        assert final.usage is not None
        assert [event.sequence_number for event in events] == list(range(len(events)))
        kinds = [event.type for event in events]
        assert kinds[:2] == ["response.created", "response.in_progress"]
        assert kinds[-1] == "response.incomplete"
        assert kinds.index("response.output_item.added") < kinds.index("response.output_text.delta")

    def test_it_is_routed_like_chat_and_explained(self, client: OpenAI) -> None:
        wish = {"foresight": {"explain": True}}
        raw = client.responses.with_raw_response.create(model="auto", input="a hard one", extra_body=wish)

        assert raw.headers["x-foresight-candidate"] == "large"
        assert json.loads(raw.content)["foresight"]["candidate"] == "large"

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"previous_response_id": "resp_1"}, "previous_response_id"),
            ({"background": True}, "background"),
            ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
            ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
            ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0]"),
            ({"input": []}, "input"),
            ({"input": "what is seven " * 800}, "input"),
            ({"model": "gpt-9"}, "model"),
        ],
    )
    def test_what_cannot_be_is_refused_by_name(
        self, client: OpenAI, fields: dict[str, Any], param: str
    ) -> None:
        with pytest.raises(openai.APIStatusError) as caught:
            client.responses.create(**{"model": "auto", "input": "easy", **fields})

        assert caught.value.status_code in (400, 404)
        assert caught.value.param == param


class TestForwarding:
    async def test_every_field_finds_its_place(self) -> None:
        image = {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"}
        fields: dict[str, Any] = {
            "model": "small",
            "instructions": "be brief",
            "input": [
                {"role": "developer", "content": "in English"},
                {"role": "user", "content": [{"type": "input_text", "text": "see"}, image]},
                {"type": "reasoning", "id": "rs_1", "summary": []},
                {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
                {"type": "function_call", "call_id": "c2", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c1", "output": "1"},
                {"type": "function_call_output", "call_id": "c2", "output": "2"},
            ],
            "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}],
            "tool_choice": {"type": "function", "name": "f"},
            "text": {"format": {"type": "json_schema", "name": "s", "schema": {"type": "object"}}},
            "reasoning": {"effort": "low"},
            "max_output_tokens": 9,
            "temperature": 0.5,
        }
        async with behind(answers()) as (url, first), official(url) as client:
            answer = await client.responses.create(**fields, extra_body={"future": [1]})

        assert answer.output_text == "four"
        (sent,) = first.bodies
        calls = [
            {"id": f"c{i}", "type": "function", "function": {"name": "f", "arguments": "{}"}} for i in (1, 2)
        ]
        assert sent == {
            "model": "m",
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "system", "content": "in English"},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "see"},
                        {"type": "image_url", "image_url": {"url": image["image_url"], "detail": "low"}},
                    ],
                },
                {"role": "assistant", "content": None, "tool_calls": calls},
                {"role": "tool", "tool_call_id": "c1", "content": "1"},
                {"role": "tool", "tool_call_id": "c2", "content": "2"},
            ],
            "tools": [
                {
                    "type": "function",
                    "function": {"name": "f", "parameters": {"type": "object"}, "strict": True},
                }
            ],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "s", "schema": {"type": "object"}},
            },
            "reasoning_effort": "low",
            "max_completion_tokens": 9,
            "temperature": 0.5,
            "future": [1],
        }

    async def test_a_stream_that_breaks_off_fails_the_response(self) -> None:
        async with behind(cuts(chunk("fo"))) as (url, _first), official(url) as client:
            stream = await client.responses.create(model="small", input="easy", stream=True)
            events = [event async for event in stream]

        assert events[-1].type == "response.failed"
        assert events[-1].response.error.code == "server_error"

    async def test_usage_is_asked_for_and_told(self) -> None:
        parts = (chunk("fo"), chunk("ur"), chunk(finish="stop"), USAGE, DONE)
        async with behind(streams(*parts)) as (url, first), official(url) as client:
            stream = await client.responses.create(model="small", input="easy", stream=True)
            events = [event async for event in stream]

        assert first.bodies[0]["stream_options"] == {"include_usage": True}
        last = events[-1]
        assert last.type == "response.completed"
        assert last.response.output_text == "four"
        assert last.response.usage.input_tokens_details.cached_tokens == 3


class TestTranslation:
    def test_calls_and_reasoning_become_items(self) -> None:
        call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
        message = {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [call]}
        chat = {**ANSWER, "choices": [{"message": message, "finish_reason": "tool_calls"}]}

        answer = whole(chat, {})

        assert [item["type"] for item in answer["output"]] == ["reasoning", "function_call"]
        assert answer["status"] == "completed"
        assert messages_of(answer["output"], None) == [
            {"role": "assistant", "content": None, "tool_calls": [call]}
        ]

    def test_streamed_calls_are_put_together(self) -> None:
        events = ResponseEvents({})
        first = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": ""}}
        told = [
            *events.of(piece({"role": "assistant", "content": ""})),
            *events.of(piece({"content": "well"})),
            *events.of(piece({"tool_calls": [first]})),
            *events.of(piece({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]})),
            *events.of(piece({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]})),
            *events.of(piece({}, "tool_calls")),
            *events.end(),
        ]

        output = told[-1]["response"]["output"]
        assert [item["type"] for item in output] == ["message", "function_call"]
        assert output[1]["arguments"] == '{"a":1}'
        assert output[1]["call_id"] == "c1"

    @given(st.lists(st.text(min_size=1, max_size=5), max_size=8))
    def test_deltas_add_up_to_the_text(self, texts: list[str]) -> None:
        events = ResponseEvents({})
        told = [event for text in texts for event in events.of(piece({"content": text}))]
        told += [*events.of(piece({}, "stop")), *events.end()]

        deltas = [event["delta"] for event in told if event["type"] == "response.output_text.delta"]
        final = told[-1]["response"]
        assert "".join(deltas) == "".join(texts) == final["output"][0]["content"][0]["text"]
        assert [event["sequence_number"] for event in told] == list(range(len(told)))

    @given(
        st.recursive(
            st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
        )
    )
    def test_odd_items_are_the_clients_fault(self, odd: Any) -> None:
        with pytest.raises(ApiError) as caught:
            chat_body({"input": [{"role": "user", "content": [odd]}]})
        assert caught.value.status == 400
