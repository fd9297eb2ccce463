"""Small synthetic outcome sets with a known structure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.outcomes import Outcomes
from eval.queries import Queries
from probes.encoders.encoder import Activations

COSTS = (0.001, 0.004, 0.02)


@dataclass(frozen=True)
class Synthetic:
    """An outcome set and a scout's activations of its queries."""

    outcomes: Outcomes
    activations: Activations


def synthetic(
    n: int = 600, *, signal: float = 3.0, costs: tuple[float, ...] | None = COSTS, seed: int = 0
) -> Synthetic:
    """Candidates of rising strength; how hard a query is stands in the activations when there is signal."""
    rng = np.random.default_rng(seed)
    k = 3
    hidden = rng.normal(size=(n, 12)).astype(np.float32)
    difficulty = signal * hidden[:, 0]
    strength = np.array([0.0, 1.2, 2.2])
    noise = rng.logistic(size=(n, k))
    correct = (strength - difficulty[:, None] + 0.4 * noise > 0).astype(float)
    words = [
        " ".join(rng.choice(["alpha", "beta", "gamma", "delta"], size=6)) + f" number {i}" for i in range(n)
    ]
    queries = Queries.build(
        words,
        datasets=[("east", "west")[i % 2] for i in range(n)],
        groups=[f"g{i // 2}" for i in range(n)],
        references=["x"] * n,
    )
    measures: dict[str, Any] = {}
    if costs is not None:
        measures["cost_usd"] = np.array(costs) * rng.uniform(0.5, 1.5, size=(n, 1))
    outcomes = Outcomes.build(queries, ["small", "medium", "large"], correct, **measures)
    values = hidden[:, None, None, :].astype(np.float16)
    return Synthetic(outcomes, Activations(values, np.full(n, 100)))
