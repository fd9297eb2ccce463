"""Golden wire formats, to be reviewed by eye: what the gateway and its local backend write themselves."""

from __future__ import annotations

import json

from router.decisions.decision import Decision
from serving.backends.wire import Usage, Writer
from serving.flow.explain import Explanation, header_value
from serving.flow.sending.dispatch import Failure

USAGE = Usage(prompt_tokens=5, completion_tokens=2)
CHAT = Writer("chat/completions", "tiny", id="1", created=7)
TEXT = Writer("completions", "tiny", id="1", created=7)
DECISION = Decision(
    candidate="small",
    reason="cheapest with success ≥ 0.8",
    policy="cheapest-likely",
    success={"small": 0.91234, "large": 0.97},
    expected_cost_usd={"small": 1.23456e-05, "large": 0.002},
    expected_output_tokens={"small": 8.0, "large": 9.0},
    ranking=("small", "large"),
    id="dec-1",
)


def test_a_chat_completion() -> None:
    assert json.loads(CHAT.whole([("four", "stop")], USAGE)) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 7,
        "model": "tiny",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "four"},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    }


def test_a_chat_stream() -> None:
    stream = CHAT.opening(0) + CHAT.piece(0, "four") + CHAT.closing(0, "stop") + CHAT.ending(USAGE)
    frame = 'data: {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "tiny", '
    frame += '"choices": '
    choice = '[{"index": 0, "delta": %s, "logprobs": null, "finish_reason": %s}]}'
    usage = '[], "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}'

    assert stream.decode().split("\n\n") == [
        frame + choice % ('{"role": "assistant", "content": ""}', "null"),
        frame + choice % ('{"content": "four"}', "null"),
        frame + choice % ("{}", '"stop"'),
        frame + usage,
        "data: [DONE]",
        "",
    ]


def test_a_completion_stream() -> None:
    stream = TEXT.opening(0) + TEXT.piece(0, "four") + TEXT.closing(0, "length") + TEXT.ending(None)
    frame = 'data: {"id": "cmpl-1", "object": "text_completion", "created": 7, "model": "tiny", "choices": '
    choice = '[{"index": 0, "text": "%s", "logprobs": null, "finish_reason": %s}]}'

    assert stream.decode().split("\n\n") == [
        frame + choice % ("four", "null"),
        frame + choice % ("", '"length"'),
        "data: [DONE]",
        "",
    ]


class TestExplanation:
    def test_headers(self) -> None:
        assert Explanation(DECISION, "small").headers() == {
            "x-foresight-candidate": "small",
            "x-foresight-success": "0.9123",
            "x-foresight-expected-cost-usd": "1.23e-05",
            "x-foresight-reason": "cheapest with success >= 0.8",
            "x-foresight-decision-id": "dec-1",
        }

    def test_headers_are_those_of_the_candidate_that_answered(self) -> None:
        told = Explanation(DECISION, "large", [Failure("small", "at-small", "timeout")]).headers()

        assert told["x-foresight-candidate"] == "large"
        assert told["x-foresight-success"] == "0.9700"
        assert told["x-foresight-reason"] == (
            "cheapest with success >= 0.8; small failed (timeout); next of the same ranking"
        )

    def test_the_body_field(self) -> None:
        field = Explanation(DECISION, "large", [Failure("small", "at-small", "timeout")]).field()

        assert field["served_by"] == "large"
        assert field["candidate"] == "small"
        assert field["failed"] == [{"candidate": "small", "kind": "timeout"}]
        assert field["success"] == {"small": 0.91234, "large": 0.97}

    def test_the_body_is_only_added_to(self) -> None:
        explanation = Explanation(DECISION, "small")
        added = b'"foresight":' + json.dumps(explanation.field()).encode()

        assert explanation.into_body(b'{"a": 1 }\n') == b'{"a": 1 ,' + added + b"}\n"
        assert explanation.into_body(b"{}") == b"{" + added + b"}"

    def test_the_event_looks_like_a_chunk_of_the_stream(self) -> None:
        template = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "m", "x": 1}

        event = Explanation(DECISION, "small").into_stream(template)

        payload = json.loads(event.removeprefix(b"data: "))
        assert payload.pop("foresight")["candidate"] == "small"
        assert payload == {**{name: template[name] for name in template if name != "x"}, "choices": []}

    def test_header_values_are_one_printable_line(self) -> None:
        assert header_value("a\r\nset-cookie: b ≥ ü") == "a  set-cookie: b >= ?"
        assert header_value("$2 × 0.5 − $1") == "$2 x 0.5 - $1"
        assert len(header_value("x" * 1000)) == 400
