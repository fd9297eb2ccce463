"""The first blocks of a model, cut off: the same activations, and none of the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from probes.encoders.encoder import Kind
from probes.encoders.transformers import TransformersEncoder
from probes.errors import ConfigError
from serving.engine.truncation import truncated

TALK = [{"role": "user", "content": "what is seven plus five"}]


@pytest.mark.parametrize("kind", ["value", "residual"])
def test_activations_stay_the_same(kind: Kind, tiny_llama: Path, tmp_path: Path) -> None:
    cut = truncated(tiny_llama, 2, tmp_path / "cut")
    whole, part = (TransformersEncoder(folder, kind=kind, layers=[1, 2]) for folder in (tiny_llama, cut))
    np.testing.assert_array_equal(part.encode([TALK]).values, whole.encode([TALK]).values)
    tensors = load_file(cut / "model.safetensors")
    assert {name.split(".")[2] for name in tensors if ".layers." in name} == {"0", "1"}
    assert {"lm_head.weight", "model.norm.weight"} < set(tensors)
    assert json.loads((cut / "config.json").read_text())["num_hidden_layers"] == 2


def test_a_model_that_is_read_to_its_end_is_not_copied(tiny_llama: Path, tmp_path: Path) -> None:
    assert truncated(tiny_llama, 4, tmp_path / "cut") == tiny_llama
    assert not (tmp_path / "cut").exists()


def test_shards_and_kinds_of_layers_are_cut_too(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    config = {"text_config": {"num_hidden_layers": 3, "layer_types": ["a", "b", "c"]}, "other": 1}
    (model / "config.json").write_text(json.dumps(config))
    (model / "model.safetensors.index.json").write_text("{}")
    (model / "tokenizer.json").write_text("{}")
    first: dict[str, Any] = {"embed": np.ones(3, np.float16), "model.layers.0.w": np.arange(7, dtype=np.int8)}
    save_file(
        first | {"model.layers.1.w": np.zeros(2)}, model / "model-1.safetensors", metadata={"format": "pt"}
    )
    save_file({"model.layers.2.w": np.ones(5)}, model / "model-2.safetensors")

    cut = truncated(model, 1, tmp_path / "cut")

    told = json.loads((cut / "config.json").read_text())
    assert told == {"text_config": {"num_hidden_layers": 1, "layer_types": ["a"]}, "other": 1}
    assert sorted(path.name for path in cut.iterdir()) == [
        "config.json",
        "model-1.safetensors",
        "tokenizer.json",
    ]
    kept = load_file(cut / "model-1.safetensors")
    assert kept.keys() == first.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(kept[name], array)


def test_a_model_without_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"num_hidden_layers": 4}')
    with pytest.raises(ConfigError, match="cannot be cut"):
        truncated(tmp_path, 2, tmp_path / "cut")
