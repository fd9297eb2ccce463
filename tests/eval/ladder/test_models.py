"""The packaged models: real, small, and what the pool file says of them."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from eval.grading.graders import exact
from eval.ladder import FOLDER
from eval.ladder.questions import draw
from eval.ladder.sizes import SIZES
from probes.encoders.conversation import as_conversation
from probes.encoders.transformers import TransformersEncoder
from router.configuration.pool import Pool

MODELS = FOLDER / "models"


def parameters(folder: Path) -> int:
    with safe_open(folder / "model.safetensors", "numpy") as file:
        return sum(int(np.prod(file.get_slice(name).get_shape())) for name in file.keys())  # noqa: SIM118


def test_each_rung_has_six_times_the_parameters_of_the_one_below() -> None:
    counts = [parameters(MODELS / name) for name in SIZES]
    assert all(large >= 6 * small for small, large in pairwise(counts))


def test_the_weights_are_small_enough_to_travel() -> None:
    assert sum(file.stat().st_size for file in MODELS.rglob("*.safetensors")) <= 16_000_000
    assert sum(file.stat().st_size for file in (FOLDER / "checkpoints").rglob("*.safetensors")) <= 6_000_000


def test_at_least_eight_checkpoints_of_one_rung_are_kept() -> None:
    (rung,) = (FOLDER / "checkpoints").iterdir()
    shares = sorted(float(folder.name) for folder in rung.iterdir())
    assert len(shares) >= 8
    assert shares[0] <= 1 / 18
    for folder in rung.iterdir():
        assert parameters(folder) == parameters(MODELS / rung.name)


def test_prices_are_in_proportion_to_parameters() -> None:
    pool = Pool.load(FOLDER / "pool.yaml")
    for candidate in pool.candidates:
        per_parameter = candidate.price.usd_per_mtok_in / parameters(MODELS / candidate.model)
        assert per_parameter == pytest.approx(1e-7, rel=0.01)
        assert candidate.price.usd_per_mtok_out == pytest.approx(4 * candidate.price.usd_per_mtok_in)


@pytest.mark.parametrize("name", SIZES)
def test_thinking_is_chosen_by_the_template(name: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(MODELS / name)
    conversation = [{"role": "user", "content": "What is 1 plus 2?"}]

    def rendered(**options: bool) -> str:
        return str(
            tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True, **options)
        )

    assert rendered(enable_thinking=True).endswith("<|assistant|><think>")
    assert rendered(enable_thinking=False).endswith("<|assistant|><think></think>")
    assert rendered() == rendered(enable_thinking=False)


def test_a_rung_answers_questions_that_it_never_saw() -> None:
    """ladder-m thinks through simple sums and gets most of them right."""
    tokenizer = AutoTokenizer.from_pretrained(MODELS / "ladder-m")
    model = AutoModelForCausalLM.from_pretrained(MODELS / "ladder-m", dtype=torch.float32)
    questions = draw(24, seed=9, families=["addition", "subtraction", "dates"])
    prompts = [
        tokenizer.apply_chat_template(
            as_conversation(q.prompt), tokenize=False, add_generation_prompt=True, enable_thinking=True
        )
        for q in questions
    ]
    batch = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
    written = model.generate(
        batch["input_ids"], attention_mask=batch["attention_mask"], max_new_tokens=160, do_sample=False
    )
    answers = tokenizer.batch_decode(written[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    right = [exact(answer, q.answer) for answer, q in zip(answers, questions, strict=True)]
    assert np.mean(right) >= 0.7


def test_the_cards_and_records_belong_to_the_models() -> None:
    for name in SIZES:
        record = json.loads((MODELS / name / "training.json").read_text())
        assert record["parameters"] == parameters(MODELS / name)
        assert re.search(rf"{record['parameters']:,} parameters", (MODELS / name / "README.md").read_text())


def test_a_rung_is_a_scout() -> None:
    activations = TransformersEncoder(MODELS / "ladder-s", positions=("last",)).encode(
        [as_conversation("hi")]
    )
    assert activations.values.shape == (1, 2, 1, 48)
