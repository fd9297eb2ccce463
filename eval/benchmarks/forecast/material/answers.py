"""Ladder questions answered greedily by a model folder and graded: the truth that forecasts must meet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval.grading.graders import exact
from eval.ladder.questions import FAMILIES, Question, Split, draw
from eval.ladder.sequences import target_text
from eval.tables import Floats, write_atomically
from probes.errors import UsageError
from probes.forecast.rank.solutions import Solution

MODES = ("direct", "think")
MOST_TOKENS = {"direct": 12, "think": 128}
PER_FAMILY = 60
"""Questions of each family that models are asked."""
TEACH_PER_FAMILY = 125
TEACH_LARGEST = 60
"""Questions of each family that a probe learns from, and for the largest rung, whose answers take longest."""
ROWS_AT_ONCE = 320
_SEED = 7


@dataclass(frozen=True)
class Exam:
    """Questions with exact answers, each asked once directly and once with thinking.

    Attributes
    ----------
    questions : tuple of Question
        Each family equally often.
    """

    questions: tuple[Question, ...]

    @classmethod
    def draw(cls, per_family: int, *, split: Split = "test", seed: int = _SEED) -> Exam:
        """Questions that no model was taught; ``fit`` for what probes learn from."""
        drawn = draw(per_family * len(FAMILIES), seed, split)
        return cls(tuple(drawn))

    def __len__(self) -> int:
        return len(self.questions)

    @property
    def families(self) -> tuple[str, ...]:
        """Family of each question."""
        return tuple(question.family for question in self.questions)

    def conversations(self) -> list[Any]:
        """Each question as a conversation."""
        return [[{"role": "user", "content": question.prompt}] for question in self.questions]

    def solutions(self) -> list[Solution]:
        """The expert's answers, direct ones first; a task is a family and a mode."""
        return [
            Solution(
                [{"role": "user", "content": question.prompt}],
                target_text(question, mode == "think"),
                f"{question.family}/{mode}",
                kwargs(mode),
            )
            for mode in MODES
            for question in self.questions
        ]

    def by_task(self, correct: Floats) -> dict[str, float]:
        """Accuracy of each task from ``correct`` [2, n]."""
        families = np.array(self.families)
        return {
            f"{family}/{mode}": float(correct[row, families == family].mean())
            for row, mode in enumerate(MODES)
            for family in dict.fromkeys(self.families)
        }


def kwargs(mode: str) -> dict[str, bool]:
    """Arguments of the chat template."""
    return {"enable_thinking": mode == "think"}


def graded(folder: Path, exam: Exam, kept: Path, *, modes: Sequence[str] = MODES) -> Floats:
    """Success 0 or 1 of a model on an exam [modes, n], greedily decoded; kept under `kept` by content."""
    return np.array([_graded(folder, exam, mode, kept) for mode in modes])


def _graded(folder: Path, exam: Exam, mode: str, kept: Path) -> Floats:
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise UsageError(f"There is no model in {folder}.", param="models")
    digest = hashlib.sha256(weights.read_bytes())
    digest.update(json.dumps([mode, [q.prompt for q in exam.questions]]).encode())
    path = kept / f"{digest.hexdigest()[:32]}.json"
    if not path.is_file():
        answers = generate(folder, exam, mode)
        marks = [exact(a, q.answer) for a, q in zip(answers, exam.questions, strict=True)]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda handle: handle.writelines([json.dumps(marks)]))
    return np.array(json.loads(path.read_text()), dtype=np.float64)


def generate(folder: Path, exam: Exam, mode: str) -> list[str]:
    """Greedy answers of a model, in batches of like length."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()
    prompts = [
        tokenizer.apply_chat_template(
            conversation, tokenize=False, add_generation_prompt=True, **kwargs(mode)
        )
        for conversation in exam.conversations()
    ]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    answers = [""] * len(prompts)
    for start in range(0, len(order), ROWS_AT_ONCE):
        rows = order[start : start + ROWS_AT_ONCE]
        batch = tokenizer(
            [prompts[i] for i in rows], add_special_tokens=False, padding=True, return_tensors="pt"
        )
        with torch.inference_mode():
            ids = model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                max_new_tokens=MOST_TOKENS[mode],
                do_sample=False,
                pad_token_id=tokenizer.pad_token_id,
            )
        texts = tokenizer.batch_decode(ids[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        for i, text in zip(rows, texts, strict=True):
            answers[i] = text
    return answers
