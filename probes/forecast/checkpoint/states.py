"""What a checkpoint makes of a prompt before it answers.

Every layer's last token and mean, the last tokens of one layer, and how sure it is of its first word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from probes.encoders.batching import plan_batches
from probes.encoders.conversation import Conversation, as_conversation
from probes.encoders.positions import pick
from probes.encoders.rendering import Renderer
from probes.errors import BackendError, UsageError

POOLED_TOKENS = 16
"""Last tokens of a prompt that attention pooling may look at."""
POOLED_DEPTH = 2 / 3
"""How deep in the model it looks."""
TOKEN_BUDGET = 8192
TOKEN_BUDGET_CPU = 2048
"""Of a batch on a processor, whose cache it should not leave; measured on small models."""
DOUBTS = ("length", "best", "lead", "entropy", "five")
"""Natural logarithms of the prompt's tokens, of the likeliest first token's probability, of its ratio to the
second's and of the five likeliest together; and the distribution's entropy in nats."""


@dataclass(frozen=True, eq=False)
class States:
    """What was read of n prompts.

    Attributes
    ----------
    layers
        float16 [n, L, 2, d]: last token and mean of each hidden state, embeddings first.
    tail
        float16 [n, T, d]: the last T tokens of one layer, the last first.
    doubt
        float32 [n, 5]: see `DOUBTS`; all but the first are 0 where a model has no head.
    """

    layers: npt.NDArray[np.float16]
    tail: npt.NDArray[np.float16]
    doubt: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.layers)

    def take(self, rows: npt.ArrayLike) -> States:
        """Some of the prompts."""
        index = np.asarray(rows)
        return States(self.layers[index], self.tail[index], self.doubt[index])


def read_states(
    model: Any,
    tokenizer: Any,
    conversations: Sequence[Conversation],
    *,
    template_kwargs: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> States:
    """Read a model in memory: one that trains, or one that was loaded.

    Parameters
    ----------
    model
        Of transformers, with its head if it has one; its mode is left as it was found.
    tokenizer
        Its own.
    conversations
        n prompts; of one longer than the context the beginning is dropped.
    template_kwargs
        For the chat template.
    progress
        Told after each batch.

    Raises
    ------
    UsageError
        There is no prompt.
    BackendError
        An activation is not finite.
    """
    if not conversations:
        raise UsageError("There is no prompt to read.", param="prompts")
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    renderer = Renderer(tokenizer, template_kwargs, max_tokens=limit)
    ids = [renderer.cut(one) for one in renderer.render_all(map(as_conversation, conversations))]
    parts: dict[int, list[Any]] = {}
    training = model.training
    model.eval()
    try:
        on_cpu = next(model.parameters()).device.type == "cpu"
        budget = TOKEN_BUDGET_CPU if on_cpu else TOKEN_BUDGET
        for batch in plan_batches([len(prompt) for prompt in ids], budget):
            read = _forward(model, [ids[i] for i in batch])
            for row, i in enumerate(batch):
                parts[i] = [part[row] for part in read]
            if progress is not None:
                progress(len(parts), len(ids))
    finally:
        model.train(training)
    layers, tail, doubt = zip(*(parts[i] for i in range(len(ids))), strict=True)
    return States(np.stack(layers), np.stack(tail), np.stack(doubt))


def read_folder(
    folder: str | Path,
    conversations: Sequence[Conversation],
    *,
    template_kwargs: Mapping[str, Any] | None = None,
    device: str = "cpu",
    dtype: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> States:
    """Read a model folder; see `read_states`."""
    from probes.forecast.rank.teacher import Teacher

    teacher = Teacher(folder, device=device, dtype=dtype)
    return read_states(
        teacher.model,
        teacher.tokenizer,
        conversations,
        template_kwargs=template_kwargs,
        progress=progress,
    )


def _forward(model: Any, prompts: Sequence[Sequence[int]]) -> tuple[Any, Any, Any]:
    device = next(model.parameters()).device
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    inputs = torch.zeros(len(prompts), int(lengths.max()), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        inputs[row, : len(prompt)] = torch.tensor(prompt)
    mask = (torch.arange(inputs.shape[1]) < lengths[:, None]).long()
    with torch.no_grad():
        hidden = model.base_model(
            input_ids=inputs.to(device),
            attention_mask=mask.to(device),
            output_hidden_states=True,
            use_cache=False,
        ).hidden_states
        lengths = lengths.to(device)
        layers = torch.stack([pick(states, lengths, ("last", "mean")) for states in hidden], dim=1)
        names = ["last", *(f"last-{k}" for k in range(1, POOLED_TOKENS))]
        tail = pick(hidden[round(POOLED_DEPTH * (len(hidden) - 1))], lengths, names)
        doubt = _doubt(model.get_output_embeddings(), layers[:, -1, 0], lengths)
    if not all(torch.isfinite(part).all() for part in (layers, tail, doubt)):
        raise BackendError("The checkpoint's activations are not finite", hint="Load it in float32.")
    top = float(np.finfo(np.float16).max)
    layers, tail = (part.clamp(-top, top).half() for part in (layers, tail))
    return layers.cpu().numpy(), tail.cpu().numpy(), doubt.cpu().numpy()


def _doubt(head: Any, last: Any, lengths: Any) -> Any:
    """`DOUBTS` of each prompt, float32 [n, 5], from the states [n, d] that the head would read."""
    length = lengths.log()[:, None]
    if head is None:
        return torch.cat([length, length.new_zeros(len(length), len(DOUBTS) - 1)], dim=1)
    nats = torch.log_softmax(head(last.to(head.weight.dtype)).float(), dim=-1)
    best = nats.topk(min(5, nats.shape[-1]), dim=-1).values
    entropy = -(nats.exp() * nats).sum(dim=-1)
    told = [best[:, 0], best[:, 0] - best[:, 1], entropy, best.logsumexp(dim=-1)]
    return torch.cat([length, torch.stack(told, dim=1)], dim=1)
