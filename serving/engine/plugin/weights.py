"""The scorer's matrix inside the engine: found in the private folder, loaded when its name changes.

The file holds `matrix` [F, C], `offset` [C] and `precision` [F]. Features F run over layers, positions,
key-value heads and their widths, in this order. Each tensor-parallel rank holds some heads and takes their
rows: what it computes is its share of a sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file


@dataclass(frozen=True)
class Shard:
    """Which rows of the matrix belong to this rank.

    Attributes
    ----------
    slices
        Layers times positions.
    heads
        Key-value heads of the model (1 where the state is not split into heads).
    first, count
        The heads that are here.
    copies
        How many ranks hold the same heads; each gives its share.
    is_first
        Whether this rank adds the offset, and sends.
    """

    slices: int
    heads: int
    first: int
    count: int
    copies: int = 1
    is_first: bool = True

    def rows(self, whole: torch.Tensor) -> torch.Tensor:
        """This rank's rows of [F, ...], divided by the copies."""
        head_width, rest = divmod(len(whole), self.slices * self.heads)
        if rest:
            message = f"The weights have {len(whole)} rows, no multiple of {self.slices} x {self.heads}."
            raise ValueError(message)
        split = whole.reshape(self.slices, self.heads, head_width, -1)
        return split[:, self.first : self.first + self.count].flatten(0, 2) / self.copies


@dataclass(frozen=True)
class Weights:
    """One version of the matrix, on the engine's device.

    Attributes
    ----------
    name
        Names the version in every message.
    matrix
        float32 [F here, C].
    offset
        float32 [C].
    precision
        float32 [F here].
    """

    name: str
    matrix: torch.Tensor
    offset: torch.Tensor
    precision: torch.Tensor

    @classmethod
    def load(cls, path: Path, shard: Shard, device: torch.device) -> Weights:
        """Read a version; `ValueError` or `OSError` if it does not fit or cannot be read."""
        arrays = load_file(path)
        offset = arrays["offset"].float()
        return cls(
            path.name,
            shard.rows(arrays["matrix"].float()).contiguous().to(device),
            (offset if shard.is_first else torch.zeros_like(offset)).to(device),
            shard.rows(arrays["precision"].float()[:, None])[:, 0].contiguous().to(device),
        )

    def project(self, features: torch.Tensor) -> torch.Tensor:
        """float32 [n, C + 1] of features [n, F here]: the matrix product, and the energy last."""
        energy = (features * features) @ self.precision
        return torch.cat([features @ self.matrix + self.offset, energy[:, None]], dim=1)
