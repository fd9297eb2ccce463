"""Matrix factorisation in RouteLLM's form: a bilinear score of candidate and query.

``delta(m, q) = w . (v_m * (W q + b))`` with unit vectors v_m (arXiv 2406.18665, section 4.2; the code in
routellm/routers/matrix_factorization). RouteLLM learns it from preferences, ``sigmoid(delta_a - delta_b)``;
here are graded answers, so ``sigmoid(delta)`` is the probability that an answer is right. q are principal
coordinates of the scout's activations of mean length 1, like the embeddings there; noise on them, the size
of the factors and the weight decay are RouteLLM's. Its 100 passes are stopped early on held-out questions.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from eval.baselines.base import Features, probability
from eval.baselines.published import networks
from eval.baselines.published.networks import Reduced, as_outcomes, held_out
from eval.outcomes import Outcomes
from eval.queries import Queries
from eval.tables import Floats

RANK = 256
FACTORS = 128
NOISE = 0.1
RATE = 3e-3
"""Ten times RouteLLM's, for batches of 64 queries and all candidates instead of 64 pairs."""


class Factorisation:
    """RouteLLM's bilinear score, trained on graded answers.

    Parameters
    ----------
    epochs : int
        Passes at most.
    seed : int
        Of coordinates, held-out questions, weights, batches and noise.
    """

    needs_features = True

    def __init__(self, *, epochs: int = 100, seed: int = 0) -> None:
        self.epochs = epochs
        self.seed = seed

    def fit(self, train: Outcomes, features: Features) -> Self:
        """Train; needs torch."""
        import torch

        self.reduced_ = Reduced(features, RANK, self.seed)
        x, y = self.reduced_(features), as_outcomes(train.correct)
        self.length_ = float(x.norm(dim=1).mean()) or 1.0
        x = x / self.length_
        out = held_out(train.groups, self.seed)
        generator = torch.Generator().manual_seed(self.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network: Any = make_bilinear(x.shape[1], y.shape[1])
            self.loss_ = networks.train(
                network,
                lambda rows: network(rows + NOISE * torch.randn(rows.shape, generator=generator)),
                (x[~out], y[~out]),
                (x[out], y[out]),
                optimizer=torch.optim.Adam(network.parameters(), lr=RATE, weight_decay=1e-5, fused=True),
                batch=64,
                epochs=self.epochs,
                patience=10,
                least_gain=1e-5,
                generator=generator,
            )
        self.network_ = network
        return self

    def predict(self, queries: Queries, features: Features) -> Floats:
        """Success, shape (n, K)."""
        import torch

        with torch.inference_mode():
            logits = self.network_(self.reduced_(features) / self.length_)
        return probability(np.asarray(torch.sigmoid(logits)))


def make_bilinear(width: int, candidates: int) -> Any:
    """A torch module: coordinates [n, width] to scores delta [n, K]."""
    import torch
    from torch import nn

    class Bilinear(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.candidates = nn.Embedding(candidates, FACTORS)
            self.project = nn.Linear(width, FACTORS)
            self.classify = nn.Linear(FACTORS, 1, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            unit = nn.functional.normalize(self.candidates.weight, dim=1)
            return self.project(x) @ (unit * self.classify.weight).T

    return Bilinear()
