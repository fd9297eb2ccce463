"""A router that was really fitted on a scout's activations, with outcomes drawn from those activations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from probes.encoders.encoder import Kind
from probes.encoders.transformers import TransformersEncoder
from probes.scoring.reference import Reference
from router.configuration.pool import Pool
from router.fit.fitting import fit_router
from router.router import Router

WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "lazy",
    "dog",
    "what",
    "is",
    "seven",
    "plus",
    "five",
]
MODEL = "scout-model"
GREEDY = {"temperature": 0, "max_tokens": 8}
CANDIDATES: Mapping[str, tuple[float, Mapping[str, Any]]] = {
    "direct": (0.1, GREEDY),
    "think": (0.2, {**GREEDY, "chat_template_kwargs": {"enable_thinking": True}}),
    "long": (1.0, {**GREEDY, "max_tokens": 9}),
}
"""Price per million tokens, and decoding, of candidates that are all one model."""


def prompts(n: int, seed: int = 0, longest: int = 40) -> list[str]:
    """Words at random."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=rng.integers(1, longest))) for _ in range(n)]


def pool_of(model: Path, kind: Kind = "value", **server: Any) -> Pool:
    """Three candidates of one model, which is the scout as well, on one vLLM server."""
    entries = [
        {
            "name": name,
            "model": MODEL,
            "backend": "own",
            "price": {"usd_per_mtok_in": usd, "usd_per_mtok_out": 4 * usd},
            "context_tokens": 512,
            "decoding": dict(decoding),
        }
        for name, (usd, decoding) in CANDIDATES.items()
    ]
    settings = {
        "candidates": entries,
        "backends": {"own": {"kind": "vllm", "model_path": str(model), "max_model_len": 512, **server}},
        "scout": {"model": str(model), "kind": kind, "server": {"max_model_len": 512, **server}},
        "policy": {"rule": "cheapest-likely", "min_success": 0.55},
        "policies": {name: {"rule": "fixed", "candidate": name} for name in CANDIDATES},
    }
    return Pool.parse(settings, folder=Path("/nowhere"))


def fitted(pool: Pool, *, layers: tuple[int, ...] | None = None) -> tuple[Router, TransformersEncoder]:
    """A router for the pool, and the encoder that it was fitted on."""
    encoder = TransformersEncoder(pool.scout.model, kind=pool.scout.kind, layers=layers)
    activations = encoder.encode([[{"role": "user", "content": text}] for text in prompts(160)])
    rng = np.random.default_rng(1)
    features = activations.features()
    logits = features @ rng.normal(size=(features.shape[1], len(CANDIDATES)))
    logits = 2 * (logits - logits.mean(axis=0)) / logits.std(axis=0) + [-0.5, 0.0, 1.0]
    correct = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(float)
    lengths = np.full_like(correct, 8.0)
    groups = [str(row) for row in range(len(correct))]
    router, _ = fit_router(
        pool,
        activations,
        correct,
        None,
        lengths,
        lengths,
        groups,
        ["words"] * len(correct),
        identity=encoder.identity,
    )
    router.record["reference"] = Reference.read(encoder).to_dict()
    return router, encoder
