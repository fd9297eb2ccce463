"""What the two published networks share: principal coordinates in, batches, early stopping."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from eval.baselines.base import Features, Standard
from eval.baselines.ridge import a_fifth
from eval.tables import Floats


class Reduced:
    """Standardised features as their leading principal coordinates (torch float32).

    Parameters
    ----------
    features : ndarray of shape (n, F)
        Of the training queries.
    rank : int
        Coordinates kept; fewer where there are fewer rows or features.
    seed : int
        Of the randomised decomposition.
    """

    def __init__(self, features: Features, rank: int, seed: int) -> None:
        from sklearn.decomposition import PCA

        self.standard, x = Standard.of(features)
        self.pca = PCA(min(rank, *x.shape), svd_solver="randomized", random_state=seed).fit(x)

    def __call__(self, features: Features) -> Any:
        """Coordinates of queries, a tensor [n, rank]."""
        import torch

        return torch.from_numpy(self.pca.transform(self.standard(features)).astype(np.float32))


def masked_loss(logits: Any, correct: Any) -> Any:
    """Binary cross-entropy with logits, a mean over the outcomes that are there (not NaN)."""
    import torch

    seen = ~torch.isnan(correct)
    total = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, torch.nan_to_num(correct), weight=seen.to(logits.dtype), reduction="sum"
    )
    return total / seen.sum()


def make_dropout(share: float, generator: Any) -> Any:
    """A torch module as ``nn.Dropout(share)``, from a generator of its own, in a third of the time."""
    import torch
    from torch import nn

    class Dropout(nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not self.training:
                return x
            kept = torch.rand(x.shape, generator=generator) >= share
            return x * (kept / (1 - share))

    return Dropout()


def held_out(groups: Sequence[Any], seed: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """About a fifth of the groups, or the last query where that is none or all."""
    out = a_fifth(groups, seed)
    if out.all() or not out.any():
        out = np.arange(len(out)) == len(out) - 1
    return out


def train(
    network: Any,
    forward: Callable[[Any], Any],
    data: tuple[Any, Any],
    held: tuple[Any, Any],
    *,
    optimizer: Any,
    batch: int,
    epochs: int,
    patience: int,
    least_gain: float,
    generator: Any,
) -> float:
    """Train with early stopping; leaves the best epoch's weights and returns its held-out loss.

    Parameters
    ----------
    network : torch.nn.Module
        What is trained.
    forward : callable
        Logits [n, K] in training, from coordinates.
    data, held : pair of tensor
        Coordinates [n, rank] and outcomes [n, K], NaN where missing.
    optimizer, generator
        Of torch.
    batch, epochs, patience, least_gain
        Queries a step; passes at most; passes without a gain of at least `least_gain` before stopping.
    """
    import torch

    x, y = data
    best, waited = float("inf"), 0
    state = {name: value.clone() for name, value in network.state_dict().items()}
    for _ in range(epochs):
        network.train()
        for rows in torch.randperm(len(x), generator=generator).split(batch):
            optimizer.zero_grad()
            masked_loss(forward(x[rows]), y[rows]).backward()
            optimizer.step()
        network.eval()
        with torch.inference_mode():
            loss = float(masked_loss(network(held[0]), held[1]))
        if loss < best - least_gain:
            best, waited = loss, 0
            state = {name: value.clone() for name, value in network.state_dict().items()}
        else:
            waited += 1
            if waited >= patience:
                break
    network.load_state_dict(state)
    network.eval()
    return best


def as_outcomes(correct: Floats) -> Any:
    """Outcomes as a float32 tensor."""
    import torch

    return torch.from_numpy(np.asarray(correct, dtype=np.float32))
