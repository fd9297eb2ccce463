"""Activations are those of transformers itself, whatever the batch, the padding or the depth of the cut."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from probes.encoders.transformers import TransformersEncoder
from probes.errors import ArtefactError, BackendError, UsageError

TALKS = [
    [{"role": "user", "content": "What is seven plus five?"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "the quick brown fox " * 9}],
    [{"role": "user", "content": "a"}],
    [{"role": "user", "content": "the lazy dog jumps over"}],
]
POSITIONS = ("last", "last-2", "first", "mean")


def reference(folder: Path, prompts: Sequence[list[int]], *, left: bool = False) -> list[list[np.ndarray]]:
    """Each prompt's hidden states by transformers, [layers + 1][tokens, width], the last before any norm."""
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    if hasattr(model, "norm"):
        model.norm = torch.nn.Identity()
    width = max(map(len, prompts))
    ids, mask = torch.zeros(len(prompts), width, dtype=torch.long), torch.zeros(len(prompts), width)
    for row, prompt in enumerate(prompts):
        at = slice(width - len(prompt), width) if left else slice(0, len(prompt))
        ids[row, at], mask[row, at] = torch.tensor(prompt), 1
    positions = (mask.cumsum(1) - 1).clamp(min=0).long()
    with torch.no_grad():
        output = model(ids, attention_mask=mask, position_ids=positions, output_hidden_states=True)
    return [
        [layer[row][mask[row] > 0].numpy() for layer in output.hidden_states] for row in range(len(prompts))
    ]


def sliced(states: list[np.ndarray], layers: Sequence[int]) -> np.ndarray:
    """[layers, POSITIONS, width] of one prompt."""
    picked = [states[layer] for layer in layers]
    return np.stack([[s[-1], s[max(len(s) - 3, 0)], s[0], s.mean(axis=0)] for s in picked])


@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@pytest.mark.parametrize("model", ["tiny_llama", "tiny_bert"])
def test_residuals_are_transformers_hidden_states(
    model: str, left: bool, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(model)
    layers = (0, 1, 3)
    encoder = TransformersEncoder(folder, layers=layers, positions=POSITIONS)
    found = encoder.encode(TALKS)
    prompts = [encoder.render(talk) for talk in TALKS]
    assert found.n_tokens.tolist() == [len(ids) for ids in prompts]
    for row, states in enumerate(reference(folder, prompts, left=left)):
        np.testing.assert_allclose(found.values[row], sliced(states, layers), rtol=2e-3, atol=2e-3)


def test_values_are_what_attention_stores(tiny_llama: Path) -> None:
    encoder = TransformersEncoder(tiny_llama, kind="value", positions=("last",))
    assert (encoder.identity.layers, encoder.identity.width) == ((1, 2, 3, 4), 32)  # one key-value head of 32
    model = AutoModel.from_pretrained(tiny_llama, dtype=torch.float32).eval()
    with torch.no_grad():
        cache = model(torch.tensor([encoder.render(TALKS[0])]), use_cache=True).past_key_values
    stored = np.stack([layer.values[0, :, -1].flatten().numpy() for layer in cache.layers])
    np.testing.assert_allclose(encoder.encode(TALKS[:1]).values[0, :, 0], stored, rtol=2e-3, atol=2e-3)


def test_values_of_an_encoder_model_are_read_too(tiny_bert: Path) -> None:
    encoder = TransformersEncoder(tiny_bert, kind="value", layers=[2])
    assert encoder.encode(TALKS).values.shape == (4, 1, 1, 32)


@pytest.mark.parametrize("kind", ["residual", "value"])
def test_neither_batch_nor_order_changes_an_activation(tiny_llama: Path, kind: Any) -> None:
    encoder = TransformersEncoder(tiny_llama, kind=kind, positions=POSITIONS, token_budget=400)
    together = encoder.encode(TALKS).values
    alone = np.concatenate([encoder.encode([talk]).values for talk in TALKS])
    np.testing.assert_allclose(together, alone, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(encoder.encode(TALKS[::-1]).values[::-1], together, rtol=2e-3, atol=2e-3)


def test_blocks_behind_the_deepest_layer_are_dropped(tiny_llama: Path) -> None:
    encoder = TransformersEncoder(tiny_llama, layers=[2])
    assert len(encoder._model.layers) == 2
    deep = TransformersEncoder(tiny_llama)
    np.testing.assert_array_equal(encoder.encode(TALKS).values[:, 0], deep.encode(TALKS).values[:, 1])


def test_a_prompt_past_the_limit_keeps_its_end_and_its_bos(tiny_llama: Path) -> None:
    encoder = TransformersEncoder(tiny_llama, max_tokens=12)
    ids = encoder.render(TALKS[1])
    cut = encoder.renderer.cut(ids)
    assert (len(cut), cut[0], cut[1:]) == (12, ids[0], ids[-11:])
    found = encoder.encode(TALKS[1:2])
    assert found.n_tokens.tolist() == [len(ids)]
    np.testing.assert_allclose(
        found.values[0, :, 0],
        [states[-1] for states in reference(tiny_llama, [cut])[0][1:]],
        rtol=2e-3,
        atol=2e-3,
    )


def test_the_models_own_limit_is_the_default(tiny_bert: Path) -> None:
    encoder = TransformersEncoder(tiny_bert)
    assert encoder.renderer.max_tokens == 64
    assert encoder.encode(["a b c " * 60]).n_tokens.tolist() == [182]


def test_nothing_to_encode_is_no_error(tiny_llama: Path) -> None:
    assert TransformersEncoder(tiny_llama, layers=[1]).encode([]).values.shape == (0, 1, 1, 64)


def test_progress_ends_with_all(tiny_llama: Path) -> None:
    told: list[tuple[int, int]] = []
    encoder = TransformersEncoder(tiny_llama, layers=[1], token_budget=1)
    encoder.encode(TALKS, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_identity_says_what_changes_the_numbers(tiny_llama: Path, tmp_path: Path) -> None:
    first = TransformersEncoder(tiny_llama, layers=[1]).identity
    assert first == TransformersEncoder(tiny_llama, layers=[1]).identity
    thinking = TransformersEncoder(tiny_llama, layers=[1], template_kwargs={"enable_thinking": True}).identity
    assert (thinking.revision, thinking.template_hash == first.template_hash) == (first.revision, False)
    copy = tmp_path / "copy"
    shutil.copytree(tiny_llama, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-3}))
    other = TransformersEncoder(copy, layers=[1]).identity
    assert other.revision != first.revision
    assert other.fingerprint != first.fingerprint


def test_tools_are_rendered_by_the_template(tiny_llama: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tools"
    shutil.copytree(tiny_llama, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = "{{ tools | length if tools else 'none' }}" + tokenizer.chat_template
    tokenizer.save_pretrained(folder)
    encoder = TransformersEncoder(folder, layers=[1])
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    assert encoder.renderer.text(TALKS[0], [tool]).startswith("1")
    assert encoder.renderer.text(TALKS[0]).startswith("none")


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"layers": [5]}, "layers"),
        ({"layers": []}, "layers"),
        ({"layers": [1, 1]}, "layers"),
        ({"layers": [0], "kind": "value"}, "layers"),
        ({"kind": "logits"}, "kind"),
        ({"positions": ["middle"]}, "positions"),
        ({"positions": []}, "positions"),
        ({"max_tokens": 1}, "max_tokens"),
    ],
)
def test_what_the_model_does_not_have_is_refused(tiny_llama: Path, wrong: dict[str, Any], param: str) -> None:
    with pytest.raises(UsageError) as caught:
        TransformersEncoder(tiny_llama, **wrong)
    assert caught.value.param == param


def test_a_missing_or_broken_model_is_an_artefact_error(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="no folder"):
        TransformersEncoder(tmp_path / "absent")
    with pytest.raises(ArtefactError, match="cannot be loaded"):
        TransformersEncoder(tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(tiny_llama, broken)
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 6, "layer_types": None}))
    with pytest.raises(ArtefactError, match="lacks weights"):
        TransformersEncoder(broken)


def test_a_scout_that_yields_nonsense_is_a_backend_error(tiny_llama: Path) -> None:
    encoder = TransformersEncoder(tiny_llama, layers=[1])
    with torch.no_grad():
        encoder._model.layers[0].mlp.down_proj.weight.fill_(float("nan"))
    with pytest.raises(BackendError, match="not finite"):
        encoder.encode(TALKS)
