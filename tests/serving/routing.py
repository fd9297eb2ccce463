"""A router whose probabilities can be read off the prompt: easy by default, hard or strange by its words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from probes.encoders.conversation import Conversation, Tools, text_of
from probes.encoders.encoder import Activations, Progress, ScoutIdentity
from probes.scoring.scorer import Scorer
from probes.scoring.scores import ScoreTable
from router.configuration.pool import Pool
from router.fitted import Fitted
from router.router import Router

WORDS = ("hard", "strange")
IDENTITY = ScoutIdentity(
    model="words",
    revision="0" * 64,
    template_hash="0" * 64,
    kind="residual",
    layers=(1,),
    positions=("last",),
    width=len(WORDS),
)
PRICES = {"small": 1.0, "small:think": 2.0, "large": 10.0}
EASY = {"small": 0.9, "small:think": 0.92, "large": 0.95}
HARD = {"small": 0.2, "small:think": 0.4, "large": 0.85}


class WordEncoder:
    """An encoder that counts words, and fails on the word `explode`."""

    identity = IDENTITY

    def __init__(self) -> None:
        self.batches: list[int] = []

    def encode(
        self,
        conversations: Sequence[Conversation],
        *,
        tools: Tools | None = None,
        progress: Progress | None = None,
    ) -> Activations:
        """One feature for each of `WORDS`: whether the conversation has it."""
        self.batches.append(len(conversations))
        texts = [" ".join(text_of(message["content"]) for message in talk) for talk in conversations]
        if any("explode" in text for text in texts):
            raise RuntimeError("boom")
        values = np.array([[word in text for word in WORDS] for text in texts], dtype=np.float16)
        n_tokens = np.array([len(text.split()) for text in texts])
        return Activations(values.reshape(-1, 1, 1, len(WORDS)), n_tokens)


class WordScorer(Scorer):
    """Scores the features of `WordEncoder`."""

    def __init__(self, names: Sequence[str]) -> None:
        object.__setattr__(self, "names", tuple(names))

    def score(self, features: Any) -> ScoreTable:
        """Success of each candidate by whether the query is hard."""
        success = np.array([[(HARD if row[0] else EASY)[name] for name in self.names] for row in features])
        return ScoreTable(
            success=success,
            output_tokens=np.full(success.shape, 8.0),
            novelty=np.asarray(features[:, 1], dtype=np.float64),
            novel=features[:, 1] > 0.5,
        )


def pool_of(backends: Mapping[str, Any], candidates: Mapping[str, Mapping[str, Any]], **more: Any) -> Pool:
    """A pool over these backends; `candidates` gives each one's backend, model and so on."""
    entries = [
        {
            "name": name,
            "model": "m",
            "price": {"usd_per_mtok_in": PRICES[name], "usd_per_mtok_out": PRICES[name] * 2},
            "context_tokens": 1024,
            **fields,
        }
        for name, fields in candidates.items()
    ]
    settings = {
        "candidates": entries,
        "backends": backends,
        "scout": {"model": "./scout", "safe_candidate": next(reversed(candidates))},
        "policy": {"rule": "cheapest-likely", "min_success": 0.8},
        "policies": {"best": {"rule": "tolerance", "tolerance": 0.0}},
        **more,
    }
    return Pool.parse(settings, folder=Path("/nowhere"))


def router_of(pool: Pool, encoder: WordEncoder | None = None) -> Router:
    """A router for a pool whose candidates are in `PRICES`."""
    fitted = Fitted(
        candidates=pool.names,
        success={name: EASY[name] for name in pool.names},
        output_tokens=dict.fromkeys(pool.names, 8.0),
        safe_candidate=pool.names[-1],
    )
    return Router(pool, WordScorer(pool.names), fitted, IDENTITY, encoder=encoder or WordEncoder())
