"""Questions as training sequences: prompt and answer in token ids, loss on the answer only."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import torch

from eval.ladder.questions import Question, stream
from eval.ladder.questions.drills import drills
from eval.ladder.sizes import DRILLED, Size
from eval.ladder.tokenizer import build

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_CHUNK = 1024
"""Questions drawn at a time; the rows of a batch are packed from one chunk."""

ROW_TOKENS = 192
"""Length of a packed row; no question with its solution is longer."""

_IGNORED = -100


class Row(NamedTuple):
    """Token ids of prompt and answer together; the first `prompt_tokens` of them are the prompt."""

    prompt_tokens: int
    ids: list[int]


@dataclass(frozen=True)
class Batch:
    """Several sequences packed into each row, none seeing another; all tensors int64 [rows, length].

    No loss is taken where ``targets`` is -100. ``sequence`` numbers the sequences of a row; ``positions``
    starts anew with each.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    positions: torch.Tensor
    sequence: torch.Tensor

    def mask(self) -> torch.Tensor:
        """Who may attend to whom, bool [rows, 1, length, length]: earlier tokens of the same sequence."""
        same = self.sequence[:, :, None] == self.sequence[:, None, :]
        return (same & torch.ones_like(same).tril())[:, None]


def corpus_tokenizer() -> PreTrainedTokenizerFast:
    """The tokeniser of all rungs, built from the first 20,000 training questions of seed 0."""
    questions = stream(seed=0, split="train")
    return build(f"{q.prompt}\n {q.solution}\n {q.answer}" for q in islice(questions, 20_000))


def target_text(question: Question, think: bool) -> str:
    """What the model should write after the generation prompt."""
    return f" {question.solution}</think> {question.answer}<|end|>" if think else f" {question.answer}<|end|>"


def rows(questions: list[Question], thinks: list[bool], tokenizer: PreTrainedTokenizerFast) -> list[Row]:
    """Each question as the chat template renders it, followed by its target."""
    prompts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": q.prompt}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=think,
        )
        for q, think in zip(questions, thinks, strict=True)
    ]
    targets = [target_text(q, think) for q, think in zip(questions, thinks, strict=True)]
    heads = tokenizer(prompts, add_special_tokens=False)["input_ids"]
    tails = tokenizer(targets, add_special_tokens=False)["input_ids"]
    return [Row(len(head), head + tail) for head, tail in zip(heads, tails, strict=True)]


def batches(size: Size, seed: int, tokenizer: PreTrainedTokenizerFast) -> Iterator[Batch]:
    """A rung's training, `size.batch_tokens` tokens at a time: drills first, then mostly questions."""
    rng = random.Random(seed)
    questions, drilled = stream(seed, "train"), drills(seed)
    seen = 0
    while True:
        share = drill_share(seen / size.tokens)
        kinds = [rng.random() < share for _ in range(_CHUNK)]
        drawn = [next(drilled) if drill else next(questions) for drill in kinds]
        packed = pack(rows(drawn, [not drill and rng.random() < 0.5 for drill in kinds], tokenizer))
        rng.shuffle(packed)
        height = size.batch_tokens // ROW_TOKENS
        for i in range(0, len(packed) - height + 1, height):
            yield collate(packed[i : i + height])
            seen += height * ROW_TOKENS


def drill_share(done: float) -> float:
    """How many sequences are drills at a share of the training: all at first, one in twenty later."""
    return 1.0 if done < DRILLED else 0.05


def pack(ready: list[Row]) -> list[list[Row]]:
    """Groups of sequences that fill a row each: the longest first, each where it fits most tightly."""
    groups: list[list[Row]] = []
    room: dict[int, list[int]] = {}
    for row in sorted(ready, key=lambda row: -len(row.ids)):
        space = next((s for s in range(len(row.ids), ROW_TOKENS + 1) if room.get(s)), None)
        if space is None:
            groups.append([])
            space, index = ROW_TOKENS, len(groups) - 1
        else:
            index = room[space].pop()
        groups[index].append(row)
        room.setdefault(space - len(row.ids), []).append(index)
    return groups


def collate(groups: list[list[Row]]) -> Batch:
    """One batch; the target at a place is the token that follows it."""
    inputs = torch.zeros(len(groups), ROW_TOKENS, dtype=torch.long)
    targets = torch.full_like(inputs, _IGNORED)
    positions, sequence = torch.zeros_like(inputs), torch.zeros_like(inputs)
    for i, group in enumerate(groups):
        start = 0
        for number, row in enumerate(group, 1):
            end = start + len(row.ids)
            inputs[i, start:end] = torch.tensor(row.ids)
            targets[i, start + row.prompt_tokens - 1 : end - 1] = torch.tensor(row.ids[row.prompt_tokens :])
            positions[i, start:end] = torch.arange(end - start)
            sequence[i, start:end] = number
            start = end
    return Batch(inputs, targets, positions, sequence)
