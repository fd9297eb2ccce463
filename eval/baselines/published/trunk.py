"""A shared trunk with a head for each candidate, ten times, the best five averaged.

Source: "LLM Router: Rethinking Routing with Prefill Activations", arXiv 2603.20895, and the toolkit of
NVIDIA-AI-Blueprints/llm-router (SharedTrunkNet): principal coordinates, 256 and 128 hidden units, dropout,
binary cross-entropy, Adam, 85/15, early stopping; of ten seeds the five of least validation loss. The
toolkit's newer choice of coordinates is taken: all layers together, 200 for all candidates.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from eval.baselines.base import Features, probability
from eval.baselines.published import networks
from eval.baselines.published.networks import Reduced, as_outcomes, make_dropout
from eval.outcomes import Outcomes
from eval.queries import Queries
from eval.tables import Floats

RANK = 200
VALIDATION = 0.15


class TrunkEnsemble:
    """PCA, then an ensemble of small networks whose trunk all candidates share.

    Parameters
    ----------
    members, kept : int
        Networks trained, and how many of them are averaged.
    epochs : int
        Passes at most.
    seed : int
        Of coordinates, split, weights and batches.
    """

    needs_features = True

    def __init__(self, *, members: int = 10, kept: int = 5, epochs: int = 150, seed: int = 0) -> None:
        self.members = members
        self.kept = kept
        self.epochs = epochs
        self.seed = seed

    def fit(self, train: Outcomes, features: Features) -> Self:
        """Train the networks; needs torch."""
        self.reduced_ = Reduced(features, RANK, self.seed)
        x, y = self.reduced_(features), as_outcomes(train.correct)
        order = np.random.default_rng(self.seed).permutation(len(features))
        cut = max(1, round(VALIDATION * len(order)))
        trained = [
            self._member(x, y, order[cut:], order[:cut], 1000 * self.seed + i) for i in range(self.members)
        ]
        trained.sort(key=lambda pair: pair[0])
        self.losses_ = [loss for loss, _ in trained]
        self.networks_ = [network for _, network in trained[: self.kept]]
        return self

    def predict(self, queries: Queries, features: Features) -> Floats:
        """Success, shape (n, K): the mean of the members' probabilities."""
        import torch

        with torch.inference_mode():
            x = self.reduced_(features)
            mean = torch.stack([torch.sigmoid(network(x)) for network in self.networks_]).mean(dim=0)
        return probability(mean.numpy())

    def _member(
        self, x: Any, y: Any, rows: np.ndarray[Any, Any], out: np.ndarray[Any, Any], seed: int
    ) -> tuple[float, Any]:
        import torch

        generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):  # layers draw from the global generator
            torch.manual_seed(seed)
            network = _network(x.shape[1], y.shape[1], generator)
        loss = networks.train(
            network,
            network,
            (x[rows], y[rows]),
            (x[out], y[out]),
            optimizer=torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-4, fused=True),
            batch=512,
            epochs=self.epochs,
            patience=15,
            least_gain=1e-4,
            generator=generator,
        )
        return loss, network


def _network(width: int, candidates: int, generator: Any) -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Linear(width, 256),
        nn.ReLU(),
        make_dropout(0.3, generator),
        nn.Linear(256, 128),
        nn.ReLU(),
        make_dropout(0.2, generator),
        nn.Linear(128, candidates),
    )
