"""Where in a prompt activations are read, by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from probes.errors import UsageError

_NAME = re.compile(r"last(?:-(\d+))?|first|mean")


def check_positions(names: Sequence[str]) -> tuple[str, ...]:
    """Refuse names that are no position.

    Parameters
    ----------
    names
        ``last`` (of the prompt), ``last-k`` (k tokens before it; the first token where the prompt is
        shorter), ``first`` (CLS of an encoder model) or ``mean`` (over all tokens).

    Raises
    ------
    UsageError
        If a name is unknown or occurs twice, or there is none.
    """
    for name in names:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"Unknown position {name!r}",
                param="positions",
                hint="Positions are last, last-1, last-2, ..., first and mean.",
            )
    if not names or len(set(names)) < len(names):
        raise UsageError(f"Positions must be distinct and at least one, not {list(names)}", param="positions")
    return tuple(names)


def pick(states: Any, lengths: Any, positions: Sequence[str]) -> Any:
    """The asked positions of a right-padded batch.

    Parameters
    ----------
    states
        Tensor [batch, tokens, width].
    lengths
        Tensor [batch]: tokens of each prompt, padding not counted.
    positions
        Checked names.

    Returns
    -------
    Tensor
        float32 [batch, positions, width].
    """
    import torch

    rows = torch.arange(len(states), device=states.device)
    picked = []
    for name in positions:
        if name == "mean":
            inside = torch.arange(states.shape[1], device=states.device) < lengths[:, None]
            weights = inside.to(torch.float32) / lengths[:, None]
            picked.append(torch.einsum("bt,btd->bd", weights, states.to(torch.float32)))
        else:
            index = torch.zeros_like(lengths) if name == "first" else lengths - 1 - _offset(name)
            picked.append(states[rows, index.clamp(min=0)].to(torch.float32))
    return torch.stack(picked, dim=1)


def _offset(name: str) -> int:
    return int(name.partition("-")[2] or 0)
