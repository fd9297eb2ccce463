"""Rendering is the template's, once: no doubled BOS, arguments parsed; a plain form where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from probes.encoders.rendering import Renderer
from probes.errors import UsageError

TALK = [{"role": "user", "content": "What is seven plus five?"}]


class Words:
    """A tokenizer without a template: one id a word, 1 in front."""

    chat_template = None
    bos_token_id = 1
    cls_token_id = None

    def __call__(self, text: str, *, add_special_tokens: bool, verbose: bool) -> dict[str, list[int]]:
        return {"input_ids": [1] * add_special_tokens + [2 + len(word) for word in text.split()]}


def test_ids_are_those_of_the_template_itself(tiny_llama: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    expected = tokenizer.apply_chat_template(TALK, add_generation_prompt=True)["input_ids"]
    ids = Renderer(tokenizer).render(TALK)
    assert ids == expected
    assert ids.count(tokenizer.bos_token_id) == 1


def test_many_prompts_are_rendered_as_each_alone(tiny_llama: Path) -> None:
    renderer = Renderer(AutoTokenizer.from_pretrained(tiny_llama))
    talks = [TALK, [{"role": "user", "content": "Hi"}], TALK * 3]
    assert renderer.render_all(talks) == [renderer.render(talk) for talk in talks]
    assert renderer.render_all([]) == []


def test_template_arguments_reach_the_template_and_the_hash(tiny_llama: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    plain, thinking = Renderer(tokenizer), Renderer(tokenizer, {"enable_thinking": True})
    assert thinking.text(TALK) == plain.text(TALK) + "<think>"
    assert thinking.template_hash != plain.template_hash


def test_tool_calls_arguments_are_parsed_where_they_can_be(tiny_llama: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    calls = "{% for call in message.tool_calls %}{{ call.function.arguments }}{% endfor %}"
    tokenizer.chat_template = "{% for message in messages %}" + calls + "{% endfor %}"
    good, bad = (
        {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": text}}]}
        for text in ('{"x": 1}', "{x")
    )
    assert Renderer(tokenizer).text([good, bad]) == "{'x': 1}{x"


def test_a_template_that_refuses_is_a_usage_error(tiny_llama: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(UsageError, match="roles must alternate"):
        Renderer(tokenizer).render(TALK)


def test_without_a_template_a_question_is_its_text_and_a_talk_has_roles() -> None:
    renderer = Renderer(Words())
    assert renderer.text(TALK) == "What is seven plus five?"
    assert (
        renderer.text([{"role": "system", "content": "Hi"}, *TALK])
        == "system: Hi\nuser: What is seven plus five?"
    )
    assert renderer.text(TALK, [{"type": "function"}]).splitlines()[0] == 'tools: [{"type": "function"}]'
    assert renderer.render(TALK)[0] == 1


@given(st.lists(st.integers(2, 9), min_size=1, max_size=50), st.integers(2, 20), st.booleans())
def test_a_cut_keeps_the_end(ids: list[int], limit: int, has_bos: bool) -> None:
    ids = [1, *ids] if has_bos else ids
    cut = Renderer(Words(), max_tokens=limit).cut(ids)
    assert len(cut) == min(len(ids), limit)
    assert cut[-1] == ids[-1]
    assert cut[0] == 1 or not has_bos
    assert cut[has_bos:] == ids[len(ids) - len(cut) + has_bos :]
