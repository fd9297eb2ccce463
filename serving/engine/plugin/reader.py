"""Activations of single tokens out of vLLM's paged cache, as float32 rounded to float16's grid.

The rounding is that of `probes.encoders.encoder.Activations`, so that the engine's numbers are those
that the probes were fitted on. vLLM 0.32 shows every dense layer's cache as [blocks, key-value
heads, block tokens, 2 x head width], keys before values; the cache of
`extract_hidden_states` as [blocks, layers, block tokens, width].
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from serving.engine.plugin.packing import value_places
from serving.engine.plugin.tracker import Ready

_FLOAT16_MAX = torch.finfo(torch.float16).max
_PLAIN = (torch.float32, torch.float16, torch.bfloat16)
_NUMBER = re.compile(r"\.(\d+)\.")


class Reader(Protocol):
    """Gathers features of the prompts of one step."""

    device: torch.device

    def read(self, ready: Sequence[Ready]) -> torch.Tensor:
        """float32 [n, layers x positions x width here]."""
        ...


@dataclass(frozen=True)
class PagedLayer:
    """One layer's cache [blocks, key-value heads, block tokens, 2 x head width], and its cache group."""

    cache: torch.Tensor
    group: int


class ValueReader:
    """Reads attention value vectors.

    Parameters
    ----------
    layers
        In the order in which they are read; all with equal heads.
    places
        How a block is packed (`packing.value_places`); None where the tensor's shape tells.
    """

    def __init__(self, layers: Sequence[PagedLayer], places: torch.Tensor | None) -> None:
        self._layers = layers
        self._places = places
        cache = layers[0].cache
        self.device = cache.device
        self.n_heads = cache.shape[1]
        self._heads = torch.arange(self.n_heads, device=self.device)[:, None]
        self._values = [self._values_of(layer.cache) for layer in layers]

    @classmethod
    def open(
        cls, caches: Mapping[str, torch.Tensor], groups: Sequence[Any], layers: Sequence[int]
    ) -> ValueReader:
        """A reader of vLLM's caches.

        Parameters
        ----------
        caches
            Cache tensors by layer name.
        groups
            vLLM's cache groups.
        layers
            Blocks to read, counted from 1.

        Raises
        ------
        ValueError
            If a layer keeps no value vectors that can be read: latent (MLA), quantised or unequal heads.
        """
        found = _value_layers(caches, groups)
        missing = [layer for layer in layers if layer not in found]
        if missing:
            raise ValueError(f"Layer {missing[0]} keeps no value vectors; there are layers {sorted(found)}.")
        asked = [found[layer] for layer in layers]
        cache = asked[0].cache
        if any(layer.cache.shape[1:] != cache.shape[1:] for layer in asked):
            raise ValueError("The layers have caches of different shapes; they cannot be read together.")
        places = None
        if cache.device.type == "cpu":
            places = value_places(cache.shape[2], cache.shape[3] // 2, cache.dtype)
        return cls(asked, places)

    def read(self, ready: Sequence[Ready]) -> torch.Tensor:
        """float32 [n, layers x positions x heads here x head width]."""
        where: dict[tuple[int, int], tuple[torch.Tensor, ...]] = {}
        parts = []
        for layer, values in zip(self._layers, self._values, strict=True):
            key = (layer.group, layer.cache.shape[2])
            if key not in where:
                where[key] = self._where(ready, *key)
            parts.append(values[where[key]].flatten(2))
        return rounded(torch.stack(parts, dim=1).flatten(1))

    def _values_of(self, cache: torch.Tensor) -> torch.Tensor:
        """A view of one layer's values: [blocks, block tokens, heads, head width], or as a CPU packs them:
        [blocks, heads, block tokens x head width]."""
        if self._places is None:
            return cache.transpose(1, 2)[..., cache.shape[3] // 2 :]
        return cache.view(cache.shape[0], cache.shape[1], 2, -1)[:, :, 1]

    def _where(self, ready: Sequence[Ready], group: int, block_tokens: int) -> tuple[torch.Tensor, ...]:
        """Where the values [n, positions, heads, head width] are, for all layers of one shape."""
        block, offset = _places(ready, group, block_tokens, self.device)
        if self._places is None:
            return block, offset
        return block[..., None, None], self._heads, self._places[offset][:, :, None]


class StateReader:
    """Reads the residual stream where `extract_hidden_states` caches it.

    Parameters
    ----------
    cache
        [blocks, layers, block tokens, width].
    group
        Its cache group.
    """

    def __init__(self, cache: torch.Tensor, group: int) -> None:
        self._cache = cache
        self._group = group
        self.device = cache.device

    def read(self, ready: Sequence[Ready]) -> torch.Tensor:
        """float32 [n, layers x positions x width]."""
        block, offset = _places(ready, self._group, self._cache.shape[2], self.device)
        return rounded(self._cache[block, :, offset].transpose(1, 2).flatten(1))


def rounded(features: torch.Tensor) -> torch.Tensor:
    """Clipped to float16's range and rounded to it, as float32."""
    return features.float().clamp(-_FLOAT16_MAX, _FLOAT16_MAX).half().float()


def _value_layers(caches: Mapping[str, torch.Tensor], groups: Sequence[Any]) -> dict[int, PagedLayer]:
    """The layers with readable value vectors, by their number."""
    from vllm.v1.kv_cache_interface import AttentionSpec, MLAAttentionSpec

    found: dict[int, PagedLayer] = {}
    for number, group in enumerate(groups):
        for name in group.layer_names:
            spec = _spec_of(group.kv_cache_spec, name)
            if not isinstance(spec, AttentionSpec) or isinstance(spec, MLAAttentionSpec):
                continue
            if spec.dtype not in _PLAIN or int(getattr(spec, "kv_quant_mode", 0) or 0) != 0:
                raise ValueError(
                    f"The cache of {name} is quantised ({spec.dtype}); its values cannot be read."
                )
            if spec.head_size_v not in (None, spec.head_size):
                raise ValueError(f"Keys and values of {name} have different widths; they cannot be read.")
            place = _NUMBER.search(name)
            if place and name in caches and caches[name].dim() == 4:
                layer = int(place.group(1)) + 1
                if layer in found:  # a draft model's, say: nothing tells which one is meant
                    raise ValueError(f"There are two caches of layer {layer}; the second is {name}.")
                found[layer] = PagedLayer(caches[name], number)
    return found


def _spec_of(spec: Any, layer: str) -> Any:
    """A layer's own specification where a group unites several kinds."""
    return getattr(spec, "kv_cache_specs", {}).get(layer, spec)


def _places(
    ready: Sequence[Ready], group: int, block_tokens: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Kernel blocks and offsets, int64 [n, positions] each; vLLM may split its manager's blocks.

    They reach a GPU from pinned memory and in one copy, so that it is not waited for.
    """
    slots = [prompt.slots[group] for prompt in ready]
    blocks = [[slot // block_tokens for slot in row] for row in slots]
    offsets = [[slot % block_tokens for slot in row] for row in slots]
    both = torch.tensor([blocks, offsets])
    block, offset = both if device.type == "cpu" else both.pin_memory().to(device, non_blocking=True)
    return block, offset
