"""Training sequences, the tokeniser, and a rung trained for a few steps."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from eval.ladder.questions import draw
from eval.ladder.sequences import ROW_TOKENS, batches, collate, corpus_tokenizer, pack, rows
from eval.ladder.sizes import CHECKPOINT_SHARES, SIZES, Size
from eval.ladder.train import schedule, train

TOKENIZER = corpus_tokenizer()


@given(st.text(max_size=60))
def test_any_text_survives_the_tokeniser(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER(text, add_special_tokens=False)["input_ids"]) == text


def test_words_of_the_questions_are_single_tokens() -> None:
    assert TOKENIZER.tokenize("What is 12 plus 3") == ["What", "Ġis", "Ġ1", "2", "Ġplus", "Ġ3"]


@pytest.mark.parametrize("think", [False, True])
def test_only_the_answer_is_learnt(think: bool) -> None:
    """Decoding the targets of a row gives exactly what the model should write."""
    question = draw(1, seed=5, split="train")[0]
    (row,) = rows([question], [think], TOKENIZER)
    targets = collate([[row]]).targets[0]
    written = TOKENIZER.decode(targets[targets >= 0])
    expected = (
        f" {question.solution}</think> {question.answer}<|end|>" if think else f" {question.answer}<|end|>"
    )
    assert written == expected


def test_a_target_is_the_next_input() -> None:
    batch = next(batches(SIZES["ladder-s"], 0, TOKENIZER))
    learnt = batch.targets[:, :-1] >= 0
    assert torch.equal(batch.targets[:, :-1][learnt], batch.inputs[:, 1:][learnt])


def test_packing_loses_nothing_and_wastes_little() -> None:
    questions = draw(2000, seed=1, split="train")
    ready = rows(questions, [number % 2 == 0 for number in range(2000)], TOKENIZER)
    groups = pack(ready)
    assert sorted(row.ids for group in groups for row in group) == sorted(row.ids for row in ready)
    lengths = [sum(len(row.ids) for row in group) for group in groups]
    assert max(lengths) <= ROW_TOKENS
    assert sum(lengths) > 0.95 * ROW_TOKENS * len(groups)


def test_packed_sequences_do_not_see_each_other() -> None:
    """The logits of a packed batch are those of each sequence on its own."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(SIZES["ladder-s"].config(len(TOKENIZER))).eval()
    ready = rows(draw(4, seed=2, split="train"), [True, False, True, False], TOKENIZER)
    batch = collate([ready])
    with torch.no_grad():
        packed = model(batch.inputs, position_ids=batch.positions, attention_mask=batch.mask()).logits[0]
        alone = torch.cat([model(torch.tensor([row.ids])).logits[0] for row in ready])
    torch.testing.assert_close(packed[: len(alone)], alone, atol=1e-4, rtol=1e-4)


def test_the_rate_warms_up_holds_and_falls_to_nothing() -> None:
    assert schedule(0.0) == 0.0
    assert schedule(0.1) == schedule(0.3) == 1.0
    assert 0 < schedule(0.9) < schedule(0.6) < 1
    assert schedule(1.0) == 0.0


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_a_trained_rung_is_an_ordinary_transformers_folder(tmp_path: Path) -> None:
    """Loss falls, checkpoints appear, and transformers loads the result with its chat template."""
    tiny = dataclasses.replace(SIZES["ladder-s"], name="tiny", tokens=30_000, batch_tokens=1_536)
    lines: list[str] = []
    record = train(tiny, tmp_path, report=lines.append)
    first, last = float(lines[0].split()[-1]), record["loss"][-1][1]
    assert record["tokens"] >= tiny.tokens
    assert last <= first
    assert len(list((tmp_path / "checkpoints" / "tiny").iterdir())) == len(CHECKPOINT_SHARES) - 1
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tiny")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "tiny")
    assert model.num_parameters() == record["parameters"]
    assert "<think></think>" in tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True
    )
    assert "tiny" in (tmp_path / "tiny" / "README.md").read_text()


def test_rungs_grow_by_more_than_six() -> None:
    def parameters(size: Size) -> int:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(size.config(len(TOKENIZER))).num_parameters()

    small, middle, large = map(parameters, SIZES.values())
    assert middle >= 6 * small
    assert large >= 6 * middle
    assert 2 * (small + middle + large) <= 16e6
