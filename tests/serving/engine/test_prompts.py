"""Where the rule says that two prompts are the same, the template renders the same text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from probes.encoders.rendering import Renderer
from serving.engine.prompts import HARMLESS, reads_the_same, scouting_body

USER = [{"role": "user", "content": "what is seven"}]
KWARGS = st.sampled_from([{}, {"enable_thinking": True}, {"enable_thinking": False}, {"other": 1}])


@pytest.fixture(scope="module")
def tokenizer(tiny_llama: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_llama)


@given(
    own=KWARGS, scouts=KWARGS, unset=st.booleans(), harmless=st.sampled_from(sorted(HARMLESS - {"messages"}))
)
def test_the_same_means_the_same_text(
    own: dict[str, Any], scouts: dict[str, Any], unset: bool, harmless: str, tokenizer: Any
) -> None:
    body = {"messages": USER, harmless: 1} | ({} if unset and not own else {"chat_template_kwargs": own})
    same = reads_the_same(body, scouts)
    assert same == (own == scouts)
    if same:
        texts = [Renderer(tokenizer, kwargs).text(USER) for kwargs in (own, scouts)]
        assert texts[0] == texts[1]


@pytest.mark.parametrize(
    "field",
    [
        {"chat_template": "{{ 1 }}"},
        {"add_generation_prompt": False},
        {"continue_final_message": True},
        {"documents": []},
        {"reasoning_effort": "high"},
        {"truncate_prompt_tokens": 5},
        {"kv_transfer_params": {"probe_id": "forged"}},
        {"a_field_of_tomorrow": 1},
        {"tool_choice": "none"},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "seven"}]}]},
        {"messages": [{"role": "user", "content": "seven", "name": "ann"}]},
        {"messages": [{"role": "assistant", "tool_calls": []}]},
    ],
)
def test_what_may_change_the_prompt_is_not_continued(field: dict[str, Any]) -> None:
    assert reads_the_same({"messages": USER}, {})
    assert not reads_the_same({"messages": USER, **field}, {})


def test_null_means_not_set() -> None:
    assert reads_the_same({"messages": USER, "reasoning_effort": None, "chat_template_kwargs": None}, {})


def test_a_prompt_sent_by_itself_has_the_scouts_template_options_and_one_token() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    body = scouting_body("m", USER, tools, {"enable_thinking": True})
    assert (body["max_tokens"], body["chat_template_kwargs"]) == (1, {"enable_thinking": True})
    assert (body["tools"], body["tool_choice"]) == (tools, "none")
    assert "tools" not in scouting_body("m", USER, [], {})
