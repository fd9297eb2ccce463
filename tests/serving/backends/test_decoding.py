"""Decoding options and text that grows token by token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.backends.decoding import Decoding, TextStream
from serving.http.errors import ApiError


def decode(ids: Sequence[int]) -> str:
    """A byte is a token: characters of several bytes are whole only with their last token."""
    return bytes(ids).decode("utf-8", "replace")


def run(text: str, stop: Sequence[str] = ()) -> tuple[list[str], bool]:
    stream = TextStream(decode, stop)
    pieces = []
    for token in text.encode():
        pieces.append(stream.push(token))
        if stream.stopped:
            break
    return [*pieces, stream.flush()], stream.stopped


@given(st.text(alphabet="aäß😀\n", max_size=20))
def test_pieces_make_the_text_and_never_a_broken_character(text: str) -> None:
    pieces, _ = run(text)

    assert "".join(pieces) == text
    assert all("\ufffd" not in piece for piece in pieces)


@given(
    st.text(alphabet="abcd", max_size=20),
    st.lists(st.text(alphabet="abc", min_size=1, max_size=3), max_size=3),
)
def test_the_text_ends_before_the_first_stop_string(text: str, stop: list[str]) -> None:
    pieces, stopped = run(text, stop)

    ends = [text.find(word) + len(word) for word in stop if word in text]
    assert stopped == bool(ends)
    shown = "".join(pieces)
    if not ends:
        assert shown == text
    else:
        seen = text[: min(ends)]
        assert shown == seen[: min(seen.find(word) for word in stop if word in seen)]


def test_what_may_begin_a_stop_string_is_held_back() -> None:
    stream = TextStream(decode, ["###"])

    assert [stream.push(token) for token in b"a##b"] == ["a", "", "", "##b"]


def test_defaults_are_openais() -> None:
    assert Decoding.from_body({"model": "m"}) == Decoding(None, 1.0, 1.0, 0, (), None, 1)


def test_the_newer_name_of_the_limit_wins() -> None:
    assert Decoding.from_body({"max_tokens": 9, "max_completion_tokens": 3}).max_tokens == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -1),
        ("temperature", "hot"),
        ("top_p", 1.5),
        ("n", True),
        ("seed", 1 << 70),
        ("stop", {"a": 1}),
        ("stop", [1]),
        ("max_tokens", 1 << 30),
    ],
)
def test_a_bad_value_is_named(field: str, value: Any) -> None:
    with pytest.raises(ApiError) as caught:
        Decoding.from_body({field: value})

    assert (caught.value.status, caught.value.param) == (400, field)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("logprobs", True),
        ("response_format", {"type": "json_object"}),
        ("logit_bias", {"1": 2}),
        ("echo", True),
    ],
)
def test_what_cannot_be_honoured_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ApiError) as caught:
        Decoding.from_body({field: value})

    assert (caught.value.param, caught.value.code) == (field, "unsupported_parameter")


@pytest.mark.parametrize("form", [None, {"type": "text"}])
def test_plain_text_is_no_special_format(form: Any) -> None:
    Decoding.from_body({"response_format": form, "logprobs": None, "logit_bias": {}})
