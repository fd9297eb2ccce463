"""What counts as a conversation, and which field is named where something does not."""

from __future__ import annotations

from typing import Any

import pytest

from probes.encoders.conversation import as_conversation, text_of
from probes.errors import UsageError

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def test_text_becomes_one_user_message() -> None:
    assert list(as_conversation("2 + 2?")) == [{"role": "user", "content": "2 + 2?"}]


def test_messages_are_passed_on_as_they_are() -> None:
    messages = [
        {"role": "system", "content": "Be brief.", "name": "kept"},
        {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {}}]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c", "content": "4"},
    ]
    assert as_conversation(messages) is messages


@pytest.mark.parametrize(
    ("prompt", "param"),
    [
        ("  ", "prompt"),
        ([], "messages"),
        ({"role": "user", "content": "x"}, "messages"),
        (7, "messages"),
        (["hi"], "messages[0]"),
        ([{"role": "bot", "content": "x"}], "messages[0].role"),
        ([{"content": "x"}], "messages[0].role"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "assistant", "content": None}], "messages[0].content"),
        ([{"role": "user", "content": 3}], "messages[0].content"),
        ([{"role": "user", "content": ["x"]}], "messages[0].content[0]"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text"),
        ([{"role": "user", "content": [{"type": "text", "text": 1}]}], "messages[0].content[0].text"),
    ],
)
def test_what_is_malformed_is_named(prompt: Any, param: str) -> None:
    with pytest.raises(UsageError) as caught:
        as_conversation(prompt)
    assert caught.value.param == param


def test_parts_that_are_no_text_leave_their_type() -> None:
    assert text_of([{"type": "text", "text": "a"}, {"type": "image_url"}]) == "a\n[image_url]"
    assert text_of(None) == ""
