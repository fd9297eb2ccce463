"""Synthetic questions, candidates and a scout, with a truth that routing can find."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from probes.encoders.conversation import Conversation, Tools
from probes.encoders.encoder import Activations, Progress, ScoutIdentity
from router.fit.knob import Outcome
from router.policies import CandidateTable

COST = np.array([1e-5, 1e-4, 1e-3])
LEVEL = np.array([-0.5, 1.2, 2.2])
IDENTITY = ScoutIdentity("scout", "r" * 64, "t" * 64, "residual", (1, 2), ("last",), 8)


def chances(difficulty: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Success probabilities of three candidates, (n, 3); the dearer the better."""
    return np.asarray(1 / (1 + np.exp(2.5 * difficulty[:, None] - 2 * LEVEL)))


def draw_world(n: int, seed: int) -> tuple[CandidateTable, Outcome]:
    """Well calibrated predictions for `n` questions, and one draw of what happened."""
    rng = np.random.default_rng(seed)
    success = chances(rng.normal(size=n))
    cost = COST * rng.lognormal(0, 0.3, (n, 3))
    table = CandidateTable(success, cost, ("c0", "c1", "c2"))
    return table, Outcome.of(table, (rng.random((n, 3)) < success).astype(float), cost)


def difficulty_of(prompt: str) -> float:
    """The difficulty that a prompt such as ``question 17: 0.25`` states."""
    return float(prompt.rpartition(":")[2])


class StatedDifficulty:
    """An encoder whose activations hold the difficulty that the prompt states, among noise."""

    def __init__(self, identity: ScoutIdentity = IDENTITY, *, fail: Exception | None = None) -> None:
        self._identity = identity
        self._fail = fail
        self.seen: list[Conversation] = []

    @property
    def identity(self) -> ScoutIdentity:
        """Which numbers `encode` yields."""
        return self._identity

    def render(self, conversation: Conversation, tools: Tools | None = None) -> list[int]:
        """Bytes as tokens."""
        return list("".join(str(message["content"]) for message in conversation).encode())

    def encode(
        self,
        conversations: Sequence[Conversation],
        *,
        tools: Tools | None = None,
        progress: Progress | None = None,
    ) -> Activations:
        """Activations of n conversations; the same prompt always gets the same."""
        if self._fail is not None:
            raise self._fail
        self.seen += conversations
        rows = [self._row(str(conversation[-1]["content"])) for conversation in conversations]
        lengths = [len(self.render(conversation)) for conversation in conversations]
        return Activations(np.array(rows, dtype=np.float16), np.array(lengths, dtype=np.int64))

    def _row(self, prompt: str) -> np.ndarray[Any, Any]:
        rng = np.random.default_rng(list(prompt.encode()))
        values = rng.normal(size=(len(self._identity.layers), 1, self._identity.width))
        values[-1, 0, 0] = difficulty_of(prompt) + 0.1 * values[-1, 0, 1]
        return values
