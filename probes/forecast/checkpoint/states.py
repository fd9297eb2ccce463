"""A checkpoint's own activations: every layer's last token and mean, and the last tokens of one layer."""

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


@dataclass(frozen=True, eq=False)
class States:
    """What was read of n prompts.

    Attributes
    ----------
    layers
        float16 [n, L, 2, d]: last token and mean of each hidden state, embeddings first.
    tail
        float16 [n, T, d]: the last T tokens of one layer, the last first.
    """

    layers: npt.NDArray[np.float16]
    tail: npt.NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.layers)

    def take(self, rows: npt.ArrayLike) -> States:
        """Some of the prompts."""
        index = np.asarray(rows)
        return States(self.layers[index], self.tail[index])


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
        Of transformers; its mode is left as it was found.
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
    ids = [renderer.cut(renderer.render(as_conversation(one))) for one in conversations]
    parts: dict[int, tuple[Any, Any]] = {}
    training = model.training
    model.eval()
    try:
        for batch in plan_batches([len(prompt) for prompt in ids], TOKEN_BUDGET):
            layers, tail = _forward(model, [ids[i] for i in batch])
            for row, i in enumerate(batch):
                parts[i] = layers[row], tail[row]
            if progress is not None:
                progress(len(parts), len(ids))
    finally:
        model.train(training)
    ordered = [parts[i] for i in range(len(ids))]
    return States(np.stack([one for one, _ in ordered]), np.stack([one for _, one in ordered]))


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
        teacher.model.base_model,
        teacher.tokenizer,
        conversations,
        template_kwargs=template_kwargs,
        progress=progress,
    )


def _forward(model: Any, prompts: Sequence[Sequence[int]]) -> tuple[Any, Any]:
    device = next(model.parameters()).device
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    inputs = torch.zeros(len(prompts), int(lengths.max()), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        inputs[row, : len(prompt)] = torch.tensor(prompt)
    mask = (torch.arange(inputs.shape[1]) < lengths[:, None]).long()
    with torch.no_grad():
        hidden = model(
            input_ids=inputs.to(device),
            attention_mask=mask.to(device),
            output_hidden_states=True,
            use_cache=False,
        ).hidden_states
        lengths = lengths.to(device)
        layers = torch.stack([pick(states, lengths, ("last", "mean")) for states in hidden], dim=1)
        names = ["last", *(f"last-{k}" for k in range(1, POOLED_TOKENS))]
        tail = pick(hidden[round(POOLED_DEPTH * (len(hidden) - 1))], lengths, names)
    if not (torch.isfinite(layers).all() and torch.isfinite(tail).all()):
        raise BackendError("The checkpoint's activations are not finite", hint="Load it in float32.")
    top = float(np.finfo(np.float16).max)
    return tuple(part.clamp(-top, top).half().cpu().numpy() for part in (layers, tail))
