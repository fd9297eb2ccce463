"""Reading activations: values against the residual stream, and what encoding costs beyond a forward pass."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from eval.benchmarks.probes.comparison import OURS, compare, with_interval
from eval.benchmarks.probes.sets import LADDER_HINT, load, read_ladder
from eval.benchmarks.row import Row, Setting
from eval.metrics.placement import difference
from eval.tables import Floats
from probes.encoders.conversation import Conversation

SIZES = ("ladder-m", "ladder-l")
WORDS = ("the", "number", "add", "which", "list", "takes", "from", "sorted", "apples", "how", "train")
LENGTHS = (60.0, 0.7)
"""Median words of a prompt, and the standard deviation of their logarithm."""
BINS = 6
BATCHES = (1, 4, 16, 64)
REPEATS = 5


def rows(setting: Setting) -> Iterator[Row]:
    """Values against residuals for each scout, then encoding."""
    for size in SIZES:
        yield value_row(setting, size)
    yield from encode_rows(setting)


def value_row(setting: Setting, size: str) -> Row:
    """AUROC of probes on value vectors less that of probes on the residual stream, all layers, last token."""
    what = f"values against residual stream, ladder, scout {size} (grouped-query attention)"
    reach = "AUROC loss ≤ .005, paired interval"
    outcomes = load(setting, "ladder")
    if outcomes is None:
        return Row(what, reach, LADDER_HINT, None)
    found = {}
    for kind in ("value", "residual"):
        activations = read_ladder(setting, outcomes, size=size, kind=kind)
        found[kind] = compare(setting, outcomes, activations, (OURS,))
    groups = np.array(found["value"].sample.outcomes.groups)
    mean, edges = difference(
        found["value"].influences(OURS, within=False),
        found["residual"].influences(OURS, within=False),
        [groups[trial.test_rows] for trial in found["value"].trials[OURS]],
    )
    areas = [found[kind].results[OURS].auroc for kind in ("value", "residual")]
    measured = f"{with_interval(mean, edges, 4)} (values {areas[0]:.4f}, residuals {areas[1]:.4f})"
    return Row(what, reach, measured, mean >= -0.005)


def encode_rows(setting: Setting) -> Iterator[Row]:
    """Tokens a second of `encode`, over those of bare forward passes without any padding."""
    from router.configuration.paths import packaged_folder

    what = "encode, local scout, mixed lengths"
    reach = "≥ .9 of the raw forward of the same layers at its best batch size; padding < 10%"
    folder = packaged_folder("minilm")
    for name, path in (("MiniLM", folder), ("ladder-l", packaged_folder("ladder-l"))):
        if path is None:
            yield Row(f"{what}, {name}", reach, "unmeasured: needs the extra text-scout", None)
        else:
            yield _encode_row(f"{what}, {name}", reach, path, 64 if setting.quick else 400)


def _encode_row(what: str, reach: str, folder: Path, count: int) -> Row:
    from probes.encoders.batching import padding_share, plan_batches
    from probes.encoders.transformers import TransformersEncoder

    budget = 8192
    encoder = TransformersEncoder(folder, token_budget=budget)
    conversations = [[{"role": "user", "content": prompt}] for prompt in mixed_prompts(count)]
    lengths = [len(encoder.renderer.cut(encoder.render(one))) for one in conversations]
    waste = padding_share(lengths, plan_batches(lengths, budget))
    encoder.encode(conversations[:8])
    raw_s = raw_seconds(folder, lengths)
    ours_s = encode_seconds(encoder, conversations)
    share = raw_s / ours_s
    measured = (
        f"{share:.2f} of the raw rate ({sum(lengths) / ours_s:,.0f} tokens/s over {count} prompts of "
        f"{min(lengths)}–{max(lengths)} tokens), padding {waste:.1%}"
    )
    return Row(what, reach, measured, share >= 0.9 and waste < 0.1)


def encode_seconds(encoder: Any, conversations: Sequence[Conversation]) -> float:
    """Time of one `encode`, each of its batches at its best: other work on the machine hits both sides alike.

    Rendering is part of the first batch.
    """
    each = [_intervals(encoder, conversations) for _ in range(REPEATS)]
    return float(np.min(each, axis=0).sum())


def _intervals(encoder: Any, conversations: Sequence[Conversation]) -> Floats:
    marks = [perf_counter()]
    encoder.encode(conversations, progress=lambda done, total: marks.append(perf_counter()))
    return np.diff(marks)


def mixed_prompts(count: int) -> list[str]:
    """Prompts of log-normally distributed lengths."""
    rng = np.random.default_rng(0)
    sizes = np.clip(np.exp(rng.normal(math.log(LENGTHS[0]), LENGTHS[1], count)), 4, 200).astype(int)
    return [" ".join(rng.choice(WORDS, size)) for size in sizes]


def raw_seconds(folder: Path, lengths: Sequence[int]) -> float:
    """What bare forward passes of as many tokens take, each length at the batch size that is best for it."""
    model = _bare_model(folder)
    order = np.sort(np.asarray(lengths))
    total = 0.0
    for part in np.array_split(order, BINS):
        length = max(1, round(float(part.mean())))
        rates = [_rate(model, length, min(batch, len(part))) for batch in BATCHES]
        total += float(part.sum()) / max(rates)
    return total


def _bare_model(folder: Path) -> Any:
    import torch
    from transformers import AutoModel
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()
    model.config.use_cache = False
    return model


def _rate(model: Any, length: int, batch: int) -> float:
    """Tokens a second of equally long prompts, the best of a few."""
    import torch

    ids = torch.randint(5, model.config.vocab_size - 5, (batch, length))
    mask = torch.ones_like(ids)
    with torch.inference_mode():
        seconds = [_seconds(lambda: model(input_ids=ids, attention_mask=mask)) for _ in range(REPEATS)]
    return batch * length / min(seconds)


def _seconds(call: Any) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start
