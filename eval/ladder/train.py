"""Train the ladder: answers only count, questions hardly ever repeat, every sequence stands alone."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from eval.ladder.card import card
from eval.ladder.sequences import Batch, batches, corpus_tokenizer
from eval.ladder.sizes import CHECKPOINT_SHARES, SIZES, Size

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

Report = Callable[[str], None]
Source = Callable[[Size, int, "PreTrainedTokenizerFast"], Iterator[Batch]]
"""What a rung is trained on, from its size, a seed and the tokeniser, e.g. `batches`."""


def optimizers(model: torch.nn.Module, size: Size) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for embeddings and norms."""
    inner = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    rest = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    steppers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(inner, lr=size.matrix_rate, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=size.rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]
    for stepper in steppers:
        for group in stepper.param_groups:
            group["initial_lr"] = group["lr"]
    return steppers


def schedule(share: float) -> float:
    """The learning rate's factor at a share of training: warm-up, plateau, then linearly to zero."""
    return min(1.0, share / 0.01) * min(1.0, max(0.0, (1 - share) / 0.7))


def train(
    size: Size,
    folder: Path,
    *,
    seed: int = 0,
    device: str = "cpu",
    report: Report = print,
    source: Source = batches,
    shares: Sequence[float] = CHECKPOINT_SHARES,
) -> dict[str, Any]:
    """Train one rung and write it, its checkpoints at `shares` of training and its record below `folder`.

    Returns
    -------
    dict
        What ``training.json`` holds: tokens, seconds, parameters, and the (tokens, loss) pairs of the curve.
    """
    from transformers import LlamaForCausalLM

    torch.manual_seed(seed)
    tokenizer = corpus_tokenizer()
    config = size.config(len(tokenizer), pad_token_id=0, bos_token_id=None, eos_token_id=1)
    model = LlamaForCausalLM(config).to(device)
    steppers = optimizers(model, size)
    due = [share * size.tokens for share in shares]
    curve: list[tuple[int, float]] = []
    seen, running, started = 0, float("nan"), time.monotonic()
    for number, batch in enumerate(source(size, seed + 1, tokenizer)):
        _set_rate(steppers, schedule(seen / size.tokens))
        loss = _step(model, batch, steppers, device)
        running = loss if number == 0 else 0.98 * running + 0.02 * loss
        seen += batch.inputs.numel()
        if number % 100 == 0:
            curve.append((seen, round(running, 4)))
            report(f"{size.name} {seen / size.tokens:6.1%} loss {running:.4f}")
        while len(due) > 1 and seen >= due[0]:
            save(model, tokenizer, checkpoint_folder(folder, size.name, due.pop(0) / size.tokens))
        if seen >= size.tokens:
            break
    save(model, tokenizer, folder / size.name)
    record = {
        "name": size.name,
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens": seen,
        "seconds": round(time.monotonic() - started),
        "seed": seed,
        "loss": curve,
    }
    (folder / size.name / "training.json").write_text(json.dumps(record) + "\n")
    (folder / size.name / "README.md").write_text(card(record))
    return record


def checkpoint_folder(folder: Path, name: str, share: float) -> Path:
    """Where the checkpoint of a rung at a share of its training stands."""
    return folder / "checkpoints" / name / f"{share:.4f}"


def _set_rate(steppers: Sequence[torch.optim.Optimizer], factor: float) -> None:
    for stepper in steppers:
        for group in stepper.param_groups:
            group["lr"] = group["initial_lr"] * factor


def _step(
    model: LlamaForCausalLM, batch: Batch, steppers: Sequence[torch.optim.Optimizer], device: str
) -> float:
    with torch.autocast(device, torch.bfloat16):
        logits = model(
            input_ids=batch.inputs.to(device),
            position_ids=batch.positions.to(device),
            attention_mask=batch.mask().to(device),
            use_cache=False,
        ).logits
    targets = batch.targets.to(device).flatten()
    loss = functional.cross_entropy(logits.float().flatten(0, 1), targets)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for stepper in steppers:
        stepper.step()
        stepper.zero_grad()
    return float(loss.detach())


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a transformers folder in half precision."""
    copy.deepcopy(model).half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for file in folder.glob("*.safetensors"):
        file.chmod(0o644)


def train_all(folder: Path, names: Sequence[str] = tuple(SIZES), *, seed: int = 0) -> None:
    """Train several rungs: side by side, one core each, or one after the other on a GPU."""
    import os
    import subprocess
    import sys
    from concurrent.futures import ThreadPoolExecutor

    if torch.cuda.is_available():
        for name in names:
            train(SIZES[name], folder, seed=seed, device="cuda")
        return

    def run(name: str) -> None:
        command = [sys.executable, "-m", "eval.ladder.train", name, str(folder), "1", str(seed)]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})

    largest_first = sorted(names, key=lambda name: -SIZES[name].hidden)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(run, largest_first))


if __name__ == "__main__":
    import sys

    _, chosen, target, threads, *rest = sys.argv
    torch.set_num_threads(int(threads))
    train(SIZES[chosen], Path(target), seed=int(rest[0]) if rest else 0)
