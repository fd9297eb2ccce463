"""The plugin's arithmetic, without vLLM: gathering, sharding, and what it may import."""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

import serving.engine.plugin
from serving.engine.plugin.reader import PagedLayer, StateReader, ValueReader
from serving.engine.plugin.tracker import Ready
from serving.engine.plugin.weights import Shard, Weights

PLUGIN = Path(serving.engine.plugin.__file__).parent
ALLOWED = {"torch", "safetensors", "vllm"}


@pytest.mark.parametrize("module", sorted(PLUGIN.glob("*.py")), ids=lambda path: path.name)
def test_the_plugin_needs_nothing_but_what_vllm_brings(module: Path) -> None:
    for node in ast.walk(ast.parse(module.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            own = name.startswith("serving.engine.plugin")
            assert own or name.partition(".")[0] in ALLOWED | set(sys.stdlib_module_names), name


def ready(*slots: tuple[tuple[int, ...], ...]) -> list[Ready]:
    return [Ready(f"{row}", 9, False, per_group) for row, per_group in enumerate(slots)]


@given(st.data())
def test_values_are_gathered_from_any_slot_of_any_group(data: st.DataObject) -> None:
    """Against a plain loop, for the layout in which GPUs keep values."""
    heads, block, width = (data.draw(st.integers(1, 4)) for _ in range(3))
    n_groups, positions = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 3))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    layers = [
        PagedLayer(torch.randn(6, heads, block, 2 * width, generator=generator), i % n_groups)
        for i in range(3)
    ]
    slot = st.integers(0, 6 * block - 1)
    prompts = [
        tuple(tuple(data.draw(slot) for _ in range(positions)) for _ in range(n_groups)) for _ in range(2)
    ]
    found = ValueReader(layers, None).read(ready(*prompts))
    for row, slots in enumerate(prompts):
        wanted = [
            layer.cache[place // block, head, place % block, width:]
            for layer in layers
            for place in slots[layer.group]
            for head in range(heads)
        ]
        expected = torch.cat(wanted).half().float()
        assert torch.equal(found[row], expected)


def test_packed_blocks_are_unpacked() -> None:
    """A block whose values were shuffled: the places say where each number went."""
    block, width, heads = 4, 3, 2
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(5, heads, block, width, generator=generator)
    places = torch.randperm(block * width, generator=generator).reshape(block, width)
    packed = torch.zeros(5, heads, 2, block * width)
    packed[:, :, 1, places.flatten()] = values.flatten(2)
    layer = PagedLayer(packed.reshape(5, heads, block, 2 * width), 0)
    found = ValueReader([layer], places).read(ready(((6,),), ((19,),)))
    expected = torch.stack([values[1, :, 2].flatten(), values[4, :, 3].flatten()])
    assert torch.equal(found, expected.half().float())


def test_states_are_gathered_layer_by_layer() -> None:
    cache = torch.randn(5, 3, 4, 2)  # [blocks, layers, block tokens, width]
    found = StateReader(cache, 1).read(ready(((0, 0), (6, 1)), ((0, 0), (19, 18))))
    for row, (last, other) in enumerate([((1, 2), (0, 1)), ((4, 3), (4, 2))]):
        expected = [cache[block, layer, at] for layer in range(3) for block, at in (last, other)]
        assert torch.equal(found[row], torch.cat(expected).half().float())


def test_huge_activations_are_clipped_as_the_encoder_clips_them() -> None:
    cache = torch.full((1, 1, 1, 2), 1e9)
    assert StateReader(cache, 0).read(ready(((0,),))).tolist() == [[65504.0, 65504.0]]


@pytest.mark.parametrize(("ranks", "heads"), [(1, 4), (2, 4), (4, 4), (4, 2), (8, 1)])
def test_the_shares_of_all_ranks_add_up(ranks: int, heads: int, tmp_path: Path) -> None:
    slices, width, outputs = 6, 5, 7
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.normal(size=(3, slices, heads, width)).astype(np.float32))
    arrays = {
        "matrix": torch.from_numpy(rng.normal(size=(slices * heads * width, outputs)).astype(np.float32)),
        "offset": torch.from_numpy(rng.normal(size=outputs).astype(np.float32)),
        "precision": torch.from_numpy(rng.random(slices * heads * width).astype(np.float32)),
    }
    save_file(arrays, tmp_path / "weights")
    flat = features.flatten(1)
    expected = torch.cat(
        [flat @ arrays["matrix"] + arrays["offset"], (flat**2 @ arrays["precision"])[:, None]], dim=1
    )
    copies, here = max(ranks // heads, 1), max(heads // ranks, 1)
    total = torch.zeros_like(expected)
    for rank in range(ranks):
        first = rank // copies if copies > 1 else rank * here
        shard = Shard(slices, heads, first, here, copies, is_first=rank == 0)
        weights = Weights.load(tmp_path / "weights", shard, torch.device("cpu"))
        total += weights.project(features[:, :, first : first + here].flatten(1))
    torch.testing.assert_close(total, expected, rtol=1e-5, atol=1e-4)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    arrays = {"matrix": torch.zeros(10, 2), "offset": torch.zeros(2), "precision": torch.zeros(10)}
    save_file(arrays, tmp_path / "weights")
    with pytest.raises(ValueError, match="10 rows"):
        Weights.load(tmp_path / "weights", Shard(3, 2, 0, 2), torch.device("cpu"))


@dataclass(frozen=True)
class Spec:
    """vLLM's AttentionSpec, as far as it is looked at."""

    dtype: torch.dtype = torch.float32
    head_size: int = 2
    head_size_v: int | None = 2
    kv_quant_mode: int = 0


class LatentSpec(Spec):
    """One latent vector in place of keys and values."""


@pytest.fixture
def _specs(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("vllm.v1.kv_cache_interface")
    module.AttentionSpec, module.MLAAttentionSpec = Spec, LatentSpec
    for name in ("vllm", "vllm.v1"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "vllm.v1.kv_cache_interface", module)
    monkeypatch.setattr("serving.engine.plugin.reader.value_places", lambda *_: torch.arange(8).reshape(4, 2))


def caches(*names: str) -> dict[str, torch.Tensor]:
    return {name: torch.full((2, 1, 4, 4), float(i)) for i, name in enumerate(names)}


@pytest.mark.usefixtures("_specs")
def test_layers_are_found_by_their_numbers() -> None:
    found = caches(*(f"model.layers.{i}.self_attn.attn" for i in (10, 2, 0)), "model.layers.1.mamba")
    groups = [
        SimpleNamespace(layer_names=["model.layers.10.self_attn.attn"], kv_cache_spec=Spec()),
        SimpleNamespace(layer_names=["model.layers.1.mamba"], kv_cache_spec=object()),
        SimpleNamespace(
            layer_names=["model.layers.2.self_attn.attn", "model.layers.0.self_attn.attn"],
            kv_cache_spec=Spec(),
        ),
    ]
    reader = ValueReader.open(found, groups, [1, 11, 3])
    assert reader.read(ready(((0,), (0,), (0,))))[0].tolist() == [2.0, 2.0, 0.0, 0.0, 1.0, 1.0]
    with pytest.raises(ValueError, match=r"Layer 2 keeps no value vectors; there are layers \[1, 3, 11\]"):
        ValueReader.open(found, groups, [1, 2])


@pytest.mark.usefixtures("_specs")
@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (LatentSpec(), "keeps no value vectors"),
        (Spec(dtype=torch.float8_e4m3fn), "quantised"),
        (replace(Spec(), kv_quant_mode=1), "quantised"),
        (Spec(head_size_v=1), "different widths"),
    ],
    ids=["latent", "fp8", "quantised", "unequal"],
)
def test_caches_without_plain_values_stop_the_server(spec: Spec, words: str) -> None:
    groups = [SimpleNamespace(layer_names=["model.layers.0.attn"], kv_cache_spec=spec)]
    with pytest.raises(ValueError, match=words):
        ValueReader.open(caches("model.layers.0.attn"), groups, [1])


@pytest.mark.usefixtures("_specs")
def test_two_caches_of_one_layer_are_refused() -> None:
    names = ["model.layers.0.attn", "draft.layers.0.attn"]
    groups = [SimpleNamespace(layer_names=names, kv_cache_spec=Spec())]
    with pytest.raises(ValueError, match="two caches of layer 1"):
        ValueReader.open(caches(*names), groups, [1])
