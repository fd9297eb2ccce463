"""Server-sent events: whatever the network cuts, whole events come out."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.http.sse import DONE, EventBuffer, EventTooLarge, event, payloads, split_done, split_error

texts = st.text(max_size=20)
events = st.lists(
    st.one_of(texts.map(lambda text: event({"text": text})), st.just(b": keep-alive\n\n"), st.just(DONE)),
    max_size=8,
)
newlines = st.sampled_from([b"\n", b"\r\n"])


@given(events, newlines, st.data())
def test_any_cutting_gives_the_same_bytes_in_whole_events(
    parts: list[bytes], newline: bytes, data: st.DataObject
) -> None:
    whole = b"".join(parts).replace(b"\n", newline)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=10)))
    buffer = EventBuffer()
    blocks = [
        buffer.feed(whole[start:end]) for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)
    ]

    assert b"".join(blocks) == whole
    assert not buffer.pending
    assert all(block.endswith(newline * 2) for block in blocks if block)


@given(events, st.data())
def test_an_unfinished_event_is_never_let_out(parts: list[bytes], data: st.DataObject) -> None:
    whole = b"".join([*parts, event({"last": 1})])
    end = data.draw(st.integers(len(b"".join(parts)), len(whole) - 1))

    buffer = EventBuffer()

    assert buffer.feed(whole[:end]) == b"".join(parts)
    assert buffer.feed(whole[end:]) == whole[len(b"".join(parts)) :]


def test_an_event_that_never_ends_is_refused_before_memory_grows() -> None:
    buffer = EventBuffer(max_event_bytes=100)

    for _ in range(10):
        buffer.feed(b"x" * 10)

    with pytest.raises(EventTooLarge):
        buffer.feed(b"x")


@given(texts)
def test_done_is_found_only_as_an_event_of_its_own(text: str) -> None:
    talk = event({"text": text + "data: [DONE]\n\n"})

    assert split_done(talk) == (talk, False)
    assert split_done(talk + DONE) == (talk, True)
    assert split_done(DONE) == (b"", True)
    assert split_done(b"data:[DONE]\r\n\r\n") == (b"", True)


@pytest.mark.parametrize(
    "error",
    [b'data: {"error": {"message": "x"}}\n\n', b'data:{"error":{}}\n\n', b"event: error\ndata: {}\n\n"],
)
def test_an_error_event_is_told_from_talk_about_errors(error: bytes) -> None:
    talk = event({"choices": [{"delta": {"content": 'data: {"error": {}}'}}]}) + event({"error": None})

    assert split_error(talk) == (talk, False)
    assert split_error(talk + error) == (talk, True)


def test_payloads_skip_what_carries_no_object() -> None:
    block = b": hello\n\n" + event({"a": 1}) + b"data: nonsense\n\ndata: [1]\n\n" + event({"b": 2}) + DONE

    assert list(payloads(block)) == [{"a": 1}, {"b": 2}]


def test_a_payload_may_span_several_data_lines() -> None:
    assert list(payloads(b'data: {"a":\ndata: 1}\r\n\r\n')) == [{"a": 1}]


def test_an_event_is_one_line_of_json() -> None:
    written = event({"text": "two\nlines"})

    assert written.startswith(b"data: ")
    assert written.endswith(b"\n\n")
    assert written.count(b"\n") == 2
    assert json.loads(written[6:]) == {"text": "two\nlines"}
