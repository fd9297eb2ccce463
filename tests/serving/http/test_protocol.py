"""Requests: checked at the edge, and every complaint names its field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.http.errors import ApiError
from serving.http.protocol import Preferences, dotted, parse_chat, parse_completion, parse_route

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}


def raw(body: Any) -> bytes:
    return json.dumps(body).encode()


def refused(body: bytes, parse: Any = parse_chat) -> ApiError:
    with pytest.raises(ApiError) as caught:
        parse(body, "req-1")
    assert caught.value.status == 400
    return caught.value


def test_the_body_is_kept_but_for_our_own_field() -> None:
    body = {**CHAT, "future_field": {"a": [1, 2.5, None]}, "foresight": {"explain": True}}

    query = parse_chat(raw(body), "req-1")

    assert query.body == {**CHAT, "future_field": {"a": [1, 2.5, None]}}
    assert query.preferences == Preferences(explain=True)
    assert (query.model, query.stream, query.request_id) == ("auto", False, "req-1")


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"model": ""}, "model"),
        ({"model": 3}, "model"),
        ({"stream": "perhaps"}, "stream"),
        ({"n": 0}, "n"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"foresight": {"min_sucess": 0.5}}, "foresight.min_sucess"),
        ({"foresight": {"min_success": 2}}, "foresight.min_success"),
        ({"foresight": {"exclude": [1]}}, "foresight.exclude[0]"),
        ({"stream_options": 1}, "stream_options"),
    ],
)
def test_a_bad_field_is_named(change: dict[str, Any], param: str) -> None:
    error = refused(raw({**CHAT, **change}))

    assert error.param == param
    assert error.code == "invalid_value"


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_a_missing_field_is_named(missing: str) -> None:
    error = refused(raw({name: value for name, value in CHAT.items() if name != missing}))

    assert (error.param, error.code) == (missing, "missing_required_parameter")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b'{"model": ', id="cut"),
        pytest.param(b"[1]", id="list"),
        pytest.param(b'"auto"', id="text"),
        pytest.param(b'{"temperature": NaN}', id="nan"),
        pytest.param(b"\xff\xfe", id="not-utf-8"),
        pytest.param(b'{"user": "\\ud800"}', id="surrogate"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b'{"n": ' + b"9" * 5000 + b"}", id="huge-number"),
    ],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    error = refused(body)

    assert (error.param, error.code) == ("body", "invalid_json")


@given(st.text(min_size=30))
def test_a_complaint_never_repeats_the_input(text: str) -> None:
    error = refused(raw({**CHAT, "messages": text, "stream": text}))

    assert text not in error.message


@given(st.binary(max_size=200))
def test_any_bytes_are_a_query_or_a_400(body: bytes) -> None:
    refused(body)


class TestCompletions:
    @pytest.mark.parametrize("prompt", ["text", ["a", "b"], [1, 2], [[1], [2, 3]]])
    def test_a_prompt_has_four_shapes(self, prompt: Any) -> None:
        query = parse_completion(raw({"model": "m", "prompt": prompt}), "r")

        assert query.endpoint == "completions"
        assert query.body["prompt"] == prompt

    def test_another_shape_is_named_without_pydantics_words(self) -> None:
        assert refused(raw({"model": "m", "prompt": {"a": 1}}), parse_completion).param == "prompt"


class TestRoute:
    def test_a_bare_prompt_is_a_conversation(self) -> None:
        query = parse_route(raw({"prompt": "hello"}), "r")

        assert query.model == "auto"
        assert query.body == {"messages": [{"role": "user", "content": "hello"}]}

    @pytest.mark.parametrize("body", [{}, {"prompt": "a", **CHAT}])
    def test_one_of_prompt_and_messages_is_needed(self, body: dict[str, Any]) -> None:
        assert refused(raw(body), parse_route).param == "messages"


def test_places_are_written_as_clients_write_them() -> None:
    assert dotted(("messages", 0, "role")) == "messages[0].role"
    assert dotted(()) == "body"


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_tokens": 5, "max_completion_tokens": 3}, 3),
        ({"max_tokens": None}, None),
    ],
)
def test_the_newer_limit_counts(fields: dict[str, Any], limit: int | None) -> None:
    assert parse_chat(raw({**CHAT, **fields}), "r").max_output_tokens == limit
