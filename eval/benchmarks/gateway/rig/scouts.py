"""What the engine rows are made of: prompts, outcomes at random, a pool for each server, a larger model."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from eval.ladder.questions import stream
from router.configuration.paths import packaged_folder

SERVED = "scout"
"""Name of the model at every server."""
LIKE = "ladder-l"
LARGER = {
    "random-13m": {
        "hidden_size": 384,
        "intermediate_size": 1536,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
    },
    "random-80m": {
        "hidden_size": 768,
        "intermediate_size": 2304,
        "num_hidden_layers": 12,
        "num_attention_heads": 24,
    },
}
"""Models of the ladder's kind with 13 and 80 million random weights: they say nothing sensible."""
N_FIT, N_TOKENS, MAX_TOKENS = 160, 56, 512
QUESTIONS_PER_PROMPT = 12


def prompts(n: int, seed: int = 0) -> Iterator[str]:
    """Texts of several questions each; no two begin alike, so that no prompt is in a server's cache."""
    questions, rng = stream(seed, "test"), Random(seed)
    for number in range(n):
        drawn = [next(questions).prompt for _ in range(QUESTIONS_PER_PROMPT)]
        yield f"{rng.randrange(10**6)} {number}. " + " ".join(drawn)


def write_outcomes(folder: Path) -> None:
    """Outcomes at random: enough to fit a router whose choices nobody looks at."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    with (folder / "queries.jsonl").open("w", encoding="utf-8") as file:
        for number, text in enumerate(prompts(N_FIT, seed=1)):
            file.write(json.dumps({"query_id": f"q{number}", "prompt": text}) + "\n")
    with (folder / "outcomes.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["query_id", "model", "correct", "input_tokens", "output_tokens"])
        for number in range(N_FIT):
            for name in ("own", "elsewhere"):
                writer.writerow([f"q{number}", name, int(rng.integers(2)), 200, N_TOKENS])


def write_pool(path: Path, model: str, core: str, elsewhere: str | None) -> Path:
    """The same two candidates, the model on a core; `elsewhere` has a server of its own once there is one."""
    own = {"kind": "vllm", "model_path": model, "max_model_len": MAX_TOKENS, "cores": core}
    backends: dict[str, Any] = {"own": own}
    if elsewhere is not None:
        backends["elsewhere"] = {"kind": "openai", "url": elsewhere}
    candidates = [
        {
            "name": name,
            "model": SERVED,
            "backend": name if name in backends else "own",
            "price": {"usd_per_mtok_in": usd, "usd_per_mtok_out": usd},
            "context_tokens": MAX_TOKENS,
        }
        for name, usd in (("own", 0.1), ("elsewhere", 1.0))
    ]
    policies = {name: {"rule": "fixed", "candidate": name} for name in ("own", "elsewhere")}
    scout = {"model": model, "kind": "value", "fallback": "none"}
    pool = {"candidates": candidates, "backends": backends, "scout": scout, "policies": policies}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(pool, indent=2), encoding="utf-8")  # JSON is YAML
    return path


def write_larger(folder: Path) -> Path:
    """A folder with the model of `LARGER` that it is named after, and the ladder's tokeniser."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    if not (folder / "model.safetensors").is_file():
        like = packaged_folder(LIKE)
        config = AutoConfig.from_pretrained(like, local_files_only=True, **LARGER[folder.name])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        AutoTokenizer.from_pretrained(like, local_files_only=True).save_pretrained(folder)
    return folder
