"""Ladder questions answered greedily by a model folder and graded: the truth that forecasts must meet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval.benchmarks.row import Setting
from eval.grading.graders import exact
from eval.ladder.questions import FAMILIES, Question, Split, draw
from eval.ladder.sequences import target_text
from eval.tables import Floats, write_atomically
from probes.errors import UsageError
from probes.forecast.rank.solutions import Solution

MODES = ("direct", "think")
MOST_TOKENS = {"direct": 12, "think": 128}
TEMPERATURE = 0.7
PER_FAMILY = 240
"""Questions of each family that models are asked: a standard error of .03 a family, .008 a run, at most."""
TEACH_PER_FAMILY = 500
"""Questions of each family that a probe learns from."""
_SEED = 7


@dataclass(frozen=True)
class Exam:
    """Questions with exact answers, each asked once directly and once with thinking.

    Attributes
    ----------
    questions : tuple of Question
        Each family about equally often: a prompt stands once, and some families have few.
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


def accuracy(folder: Path, setting: Setting) -> float:
    """Share right of a model on the exam that measures runs, both modes and all families together."""
    return float(graded(folder, Exam.draw(PER_FAMILY), setting.work / "forecast" / "answers").mean())


def drawn_rate(folder: Path, exam: Exam, mode: str, kept: Path, *, samples: int = 5) -> Floats:
    """Share [n] of `samples` answers drawn at `TEMPERATURE` that are right; kept as greedy ones are."""
    marks = [_graded(folder, exam, mode, kept, seed=seed) for seed in range(samples)]
    return np.asarray(np.mean(marks, axis=0))


def _graded(folder: Path, exam: Exam, mode: str, kept: Path, *, seed: int | None = None) -> Floats:
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise UsageError(f"There is no model in {folder}.", param="models")
    digest = hashlib.sha256(weights.read_bytes())
    way = [] if seed is None else [TEMPERATURE, seed]
    digest.update(json.dumps([mode, [q.prompt for q in exam.questions], *way]).encode())
    path = kept / f"{digest.hexdigest()[:32]}.json"
    if not path.is_file():
        answers = generate(folder, exam, mode, seed=seed)
        marks = [exact(a, q.answer) for a, q in zip(answers, exam.questions, strict=True)]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda handle: handle.writelines([json.dumps(marks)]))
    return np.array(json.loads(path.read_text()), dtype=np.float64)


def generate(folder: Path, exam: Exam, mode: str, *, seed: int | None = None) -> list[str]:
    """Answers of a model: greedy, or drawn at `TEMPERATURE` from a seed.

    The experts' worked solutions are the drafts of worked greedy answers.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from eval.benchmarks.forecast.material.greedy import drawn, greedy

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()
    prompts = [
        tokenizer.apply_chat_template(
            conversation, tokenize=False, add_generation_prompt=True, **kwargs(mode)
        )
        for conversation in exam.conversations()
    ]
    ids, most, end = _ids(tokenizer, prompts), MOST_TOKENS[mode], model.generation_config.eos_token_id
    if seed is not None:
        written = drawn(model, ids, most, end=end, temperature=TEMPERATURE, seed=seed)
    elif mode == "think":
        drafts = _ids(tokenizer, [target_text(question, think=True) for question in exam.questions])
        written = greedy(model, ids, most, end=end, drafts=drafts)
    else:
        written = greedy(model, ids, most, end=end)
    return [str(text) for text in tokenizer.batch_decode(written, skip_special_tokens=True)]


def _ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    found: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return found
