"""Greedy answers of small models, many at once: the same text as one question at a time, in less time.

An expert's answer serves as a draft (Leviathan, Kalman & Matias 2023, arXiv 2211.17192, without chance): what
the model would have written itself is accepted in one pass, and decoding begins where the two part. Rows that
have ended leave the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROWS_AT_ONCE = 32
"""Small enough for what a layer passes on to stay in a processor's cache."""
LEAVE = 3 / 4
"""The batch shrinks once no more than this share of its rows still writes."""

Ids = list[int]


def greedy(
    model: PreTrainedModel,
    prompts: Sequence[Ids],
    most_tokens: int,
    *,
    end: int,
    drafts: Sequence[Ids] | None = None,
) -> list[Ids]:
    """Token ids that the model writes after each prompt, without the end.

    Parameters
    ----------
    model
        A causal language model.
    prompts
        Token ids, none empty.
    most_tokens
        Of an answer; a longer one is cut.
    end
        The token that ends an answer.
    drafts
        What the model may well write, its end included, for each prompt; they change the time, not the text.
    """
    written: list[Ids] = [[] for _ in prompts]
    with torch.inference_mode():
        if drafts is not None:
            for rows in _batches([len(p) + len(d) for p, d in zip(prompts, drafts, strict=True)]):
                accepted = _accepted(model, [prompts[i] for i in rows], [drafts[i] for i in rows])
                for i, ids in zip(rows, accepted, strict=True):
                    written[i] = ids[:most_tokens]
        going = [i for i, ids in enumerate(written) if len(ids) < most_tokens and end not in ids[-1:]]
        begun = [prompts[i] + written[i] for i in going]
        for rows in _batches([len(ids) for ids in begun]):
            room = [most_tokens - len(written[going[j]]) for j in rows]
            for j, ids in zip(rows, _decode(model, [begun[j] for j in rows], room, end), strict=True):
                written[going[j]] += ids
    return [ids[:-1] if end in ids[-1:] else ids for ids in written]


def _batches(sizes: Sequence[int]) -> Iterator[list[int]]:
    """Rows of like size together."""
    order = sorted(range(len(sizes)), key=sizes.__getitem__)
    for start in range(0, len(order), ROWS_AT_ONCE):
        yield order[start : start + ROWS_AT_ONCE]


def _accepted(model: PreTrainedModel, prompts: Sequence[Ids], drafts: Sequence[Ids]) -> list[Ids]:
    """Of each draft what the model writes too, and the first token that it writes instead."""
    sizes = [len(prompt) + len(draft) for prompt, draft in zip(prompts, drafts, strict=True)]
    ids = torch.zeros(len(prompts), max(sizes), dtype=torch.long)
    for row, (prompt, draft) in enumerate(zip(prompts, drafts, strict=True)):
        ids[row, : sizes[row]] = torch.tensor(prompt + draft)
    # Padded on the right: what stands there is looked at by nobody.
    chosen = model(input_ids=ids, use_cache=False).logits.argmax(dim=-1)
    found = []
    for row, (prompt, draft) in enumerate(zip(prompts, drafts, strict=True)):
        own = chosen[row, len(prompt) - 1 : sizes[row] - 1].tolist()
        same = next((k for k, (a, b) in enumerate(zip(own, draft, strict=True)) if a != b), len(draft))
        found.append(own[: same + 1])
    return found


def drawn(
    model: PreTrainedModel,
    prompts: Sequence[Ids],
    most_tokens: int,
    *,
    end: int,
    temperature: float,
    seed: int,
) -> list[Ids]:
    """As `greedy`, each token drawn by its probability at a temperature above 0."""
    written: list[Ids] = [[] for _ in prompts]
    chance = torch.Generator().manual_seed(seed)

    def choose(logits: torch.Tensor) -> torch.Tensor:
        return torch.multinomial((logits / temperature).softmax(dim=-1), 1, generator=chance)

    with torch.inference_mode():
        for rows in _batches([len(ids) for ids in prompts]):
            room = [most_tokens] * len(rows)
            found = _decode(model, [prompts[i] for i in rows], room, end, choose)
            for i, ids in zip(rows, found, strict=True):
                written[i] = ids
    return [ids[:-1] if end in ids[-1:] else ids for ids in written]


def _likeliest(logits: torch.Tensor) -> torch.Tensor:
    return logits.argmax(dim=-1, keepdim=True)


def _decode(
    model: PreTrainedModel,
    begun: Sequence[Ids],
    room: Sequence[int],
    end: int,
    choose: Callable[[torch.Tensor], torch.Tensor] = _likeliest,
) -> list[Ids]:
    """What follows, token by token; at most `room` tokens of each."""
    from transformers import DynamicCache

    width = max(map(len, begun))
    ids = torch.zeros(len(begun), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, one in enumerate(begun):
        ids[row, width - len(one) :] = torch.tensor(one)
        mask[row, width - len(one) :] = 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    cache, written = DynamicCache(config=model.config), [Ids() for _ in begun]
    rows, left = torch.arange(len(begun)), torch.tensor(room)
    while len(rows):
        given = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        found = model(**given, past_key_values=cache, logits_to_keep=1)
        ids = choose(found.logits[:, -1])
        for row, token, open_ in zip(rows.tolist(), ids[:, 0].tolist(), (left > 0).tolist(), strict=True):
            if open_:
                written[row].append(token)
        left = torch.where(ids[:, 0] == end, 0, left - 1)
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        positions = positions[:, -1:] + 1
        keep = torch.nonzero(left > 0)[:, 0]
        if len(keep) <= LEAVE * len(rows):
            cache.batch_select_indices(keep)
            rows, left, ids, mask, positions = (part[keep] for part in (rows, left, ids, mask, positions))
    return written
