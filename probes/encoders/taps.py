"""Where to read a transformers model: its list of blocks, and in each the module that makes what is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from torch import Tensor, nn

from probes.encoders.encoder import Kind
from probes.errors import UsageError

Receiver: TypeAlias = Callable[[int, Tensor], None]
"""Called with (place of the layer in what was asked, states [batch, tokens, width])."""

_VALUE_PROJECTIONS = ("v_proj", "value", "v_lin", "qkv_proj", "c_attn")
_FUSED = ("qkv_proj", "c_attn")  # query, key and value in one output, in this order


def truncate(model: Any, deepest: int) -> list[nn.Module]:
    """Drop all blocks after the deepest one that is asked for; its memory is free again.

    Returns
    -------
    list of Module
        The blocks that are left, in order (at least one: the embeddings are read at its entrance).
    """
    parent, name, blocks = _find_blocks(model)
    kept = nn.ModuleList(list(blocks)[: max(deepest, 1)])
    setattr(parent, name, kept)
    return list(kept)


def n_blocks(model: Any) -> int:
    """How many blocks a model has."""
    return len(_find_blocks(model)[2])


def attach(
    config: Any, blocks: Sequence[nn.Module], kind: Kind, layers: Sequence[int], receive: Receiver
) -> None:
    """Hook the modules whose output is asked for, for as long as the model lives.

    Parameters
    ----------
    config
        The text model's configuration.
    blocks
        Of the truncated model.
    kind
        What to read.
    layers
        Counted from 1; 0 is what enters the first block.
    receive
        Gets each layer's states during the forward pass.
    """
    for place, layer in enumerate(layers):
        if kind == "value":
            module, part = _value_projection(blocks[layer - 1], config)
            module.register_forward_hook(lambda _m, _a, out, i=place, part=part: receive(i, out[..., part]))
        elif layer == 0:
            blocks[0].register_forward_pre_hook(
                lambda _m, args, kwargs, i=place: receive(i, args[0] if args else kwargs["hidden_states"]),
                with_kwargs=True,
            )
        else:
            blocks[layer - 1].register_forward_hook(
                lambda _m, _a, out, i=place: receive(i, out[0] if isinstance(out, tuple) else out)
            )


def _find_blocks(model: Any) -> tuple[nn.Module, str, nn.ModuleList]:
    root = getattr(model, "language_model", model)  # of a multimodal model, the part that reads text
    count = root.config.get_text_config().num_hidden_layers
    for path, module in root.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            parent, _, name = path.rpartition(".")
            return root.get_submodule(parent), name, module
    raise UsageError(
        f"No list of {count} blocks in a {type(model).__name__}",
        param="scout.model",
        hint="Use another scout.",
    )


def _value_projection(block: nn.Module, config: Any) -> tuple[nn.Module, slice]:
    """The module that makes a block's value vectors, and which part of its output they are."""
    found = {path.rpartition(".")[2]: module for path, module in block.named_modules()}
    for name in _VALUE_PROJECTIONS:
        if name in found:
            return found[name], slice(-_value_width(config), None) if name in _FUSED else slice(None)
    raise UsageError(
        f"A {type(block).__name__} has no value projection that can be read",
        param="scout.kind",
        hint="Use kind 'residual'.",
    )


def _value_width(config: Any) -> int:
    heads = config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    return int((getattr(config, "num_key_value_heads", None) or heads) * head_dim)
