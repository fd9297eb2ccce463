"""What a backend is sent: the client's request, with the candidate's model and defaults."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from serving.flow.sending.forwarding import forwarded_body

bodies = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5) | st.booleans(), max_size=5)


@given(bodies, bodies)
def test_every_field_of_the_client_is_forwarded_untouched(
    body: dict[str, Any], decoding: dict[str, Any]
) -> None:
    sent = forwarded_body(body, "m", decoding, "chat/completions")

    assert {name: sent[name] for name in body if name != "model"} == {
        k: v for k, v in body.items() if k != "model"
    }
    assert sent["model"] == "m" or decoding.get("model")
    assert set(sent) == set(body) | set(decoding) | {"model"}


def test_defaults_fill_only_what_the_client_left_open() -> None:
    decoding = {"temperature": 0.6, "top_k": 20}

    sent = forwarded_body({"temperature": 1.0, "top_k": None}, "m", decoding, "chat/completions")

    assert sent == {"model": "m", "temperature": 1.0, "top_k": 20}


def test_template_options_are_merged_one_by_one() -> None:
    sent = forwarded_body(
        {"chat_template_kwargs": {"lang": "de"}},
        "m",
        {"chat_template_kwargs": {"enable_thinking": True, "lang": "en"}},
        "chat/completions",
    )

    assert sent["chat_template_kwargs"] == {"enable_thinking": True, "lang": "de"}


def test_completions_have_no_template() -> None:
    sent = forwarded_body({"prompt": "x"}, "m", {"chat_template_kwargs": {"a": 1}}, "completions")

    assert sent == {"model": "m", "prompt": "x"}


def test_two_limits_never_meet() -> None:
    sent = forwarded_body({"max_completion_tokens": 5}, "m", {"max_tokens": 100}, "chat/completions")

    assert sent == {"model": "m", "max_completion_tokens": 5}


def test_the_inputs_stay_as_they_were() -> None:
    body: dict[str, Any] = {"chat_template_kwargs": {"a": 1}}
    decoding = {"chat_template_kwargs": {"b": 2}}

    forwarded_body(body, "m", decoding, "chat/completions")["chat_template_kwargs"]["c"] = 3

    assert body == {"chat_template_kwargs": {"a": 1}}
    assert decoding == {"chat_template_kwargs": {"b": 2}}
