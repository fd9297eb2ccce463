"""A small network of two hidden layers, trained once for every fold and once for all rows, side by side.

Rectified linear units with dropout, binary cross-entropy, Adam (Kingma & Ba 2015) with a falling step. The
networks see the same batches; a fold is the same problem with weight 0 on its own rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats32 = npt.NDArray[np.float32]
Floats64 = npt.NDArray[np.float64]

WIDTHS = (128, 64)
DROPPED = (0.3, 0.2)
BATCH = 256
RATE = 3e-3
DECAY = 1e-4
MOMENTS = (0.9, 0.999)


@dataclass(frozen=True, eq=False)
class Layers:
    """Weights and biases from the inputs to the outputs: ``relu(relu(x W1 + b1) W2 + b2) W3 + b3``."""

    weights: tuple[Floats32, ...]
    biases: tuple[Floats32, ...]

    def hidden(self, x: Floats32) -> Floats32:
        """The last hidden layer [n, H] at inputs [n, q]."""
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = np.maximum(x @ weight + bias, 0)
        return x

    def __call__(self, x: Floats32) -> Floats32:
        """Outputs [n, D]."""
        found: Floats32 = self.hidden(x) @ self.weights[-1] + self.biases[-1]
        return found


def train(
    x: Floats32,
    rate: Floats64,
    weight: Floats64,
    loadings: Floats64,
    level: Floats64,
    fold: npt.NDArray[np.intp],
    *,
    passes: int,
    seed: int = 0,
) -> tuple[Layers, ...]:
    """A network without each fold, in their order, then one of all rows.

    Parameters
    ----------
    x
        Inputs [n, q], of variance about 1.
    rate, weight
        Success rates [n, K] and draws behind each, 0 where missing.
    loadings, level
        Outputs become logits by ``outputs @ loadings + level``: [D, K] and [K].
    fold
        Of each row [n], counted from 0.
    passes
        Over the rows.
    seed
        Of first weights, batches and dropout.
    """
    n_folds = int(fold.max()) + 1
    rng = np.random.default_rng(seed)
    stack = _Stack(n_folds + 1, (x.shape[1], *WIDTHS, len(loadings)), rng)
    away = (fold[None, :] != np.arange(n_folds + 1)[:, None]).astype(np.float32)  # the last lacks no row
    to_logits, levels = loadings.astype(np.float32), level.astype(np.float32)
    known, right = weight.astype(np.float32), (weight * rate).astype(np.float32)
    steps = passes * -(-len(x) // BATCH)
    done = 0
    for _ in range(passes):
        order = rng.permutation(len(x))
        for start in range(0, len(x), BATCH):
            rows = order[start : start + BATCH]
            rate_now = RATE * (1 - done / steps)
            stack.step(x[rows], known[rows], right[rows], away[:, rows], to_logits, levels, rate_now)
            done += 1
    return stack.layers()


class _Stack:
    """S networks as arrays with a leading axis, and the moments of their slopes."""

    def __init__(self, count: int, sizes: Sequence[int], rng: np.random.Generator) -> None:
        self.rng = rng
        self.steps = 0
        self.values: list[Floats32] = []
        for wide, narrow in pairwise(sizes):
            bound = 1 / np.sqrt(wide)
            first = rng.uniform(-bound, bound, (1, wide, narrow)).astype(np.float32)
            self.values += [np.repeat(first, count, axis=0), np.zeros((count, 1, narrow), np.float32)]
        self.first = [np.zeros_like(value) for value in self.values]
        self.second = [np.zeros_like(value) for value in self.values]

    def step(
        self,
        x: Floats32,
        known: Floats32,
        right: Floats32,
        away: Floats32,
        to_logits: Floats32,
        level: Floats32,
        rate: float,
    ) -> None:
        """One step of Adam on a batch."""
        inputs, kept = [x[None]], []
        for layer, share in enumerate(DROPPED):
            active = inputs[-1] @ self.values[2 * layer] + self.values[2 * layer + 1]
            mask = (active > 0) * self._kept(active.shape, share)
            inputs.append(active * mask)
            kept.append(mask)
        logit = (inputs[-1] @ self.values[-2] + self.values[-1]) @ to_logits + level
        p = 0.5 * (1 + np.tanh(0.5 * logit))
        total = np.maximum((away * known.sum(axis=1)).sum(axis=1), 1e-6)
        slope = (known * p - right) * (away / total[:, None])[:, :, None] @ to_logits.T
        slopes: list[Floats32] = []
        for layer in range(len(inputs) - 1, -1, -1):
            back = np.swapaxes(inputs[layer], 1, 2) @ slope
            slopes += [slope.sum(axis=1, keepdims=True), back]
            if layer:
                slope = (slope @ np.swapaxes(self.values[2 * layer], 1, 2)) * kept[layer - 1]
        self._adam(slopes[::-1], rate)

    def _adam(self, slopes: Sequence[Floats32], rate: float) -> None:
        self.steps += 1
        early, late = (1 - moment**self.steps for moment in MOMENTS)
        for value, slope, first, second in zip(self.values, slopes, self.first, self.second, strict=True):
            slope = slope + DECAY * value
            first += (1 - MOMENTS[0]) * (slope - first)
            second += (1 - MOMENTS[1]) * (slope * slope - second)
            value -= (rate / early) * first / (np.sqrt(second / late) + 1e-8)

    def _kept(self, shape: tuple[int, ...], share: float) -> Floats32:
        """1 / (1 - share) where a unit is kept, else 0."""
        drawn = self.rng.integers(0, 256, shape, dtype=np.uint8)
        return (drawn >= round(256 * share)).astype(np.float32) / np.float32(1 - share)

    def layers(self) -> tuple[Layers, ...]:
        """The networks apart."""
        return tuple(
            Layers(tuple(w[i] for w in self.values[::2]), tuple(b[i, 0] for b in self.values[1::2]))
            for i in range(len(self.values[0]))
        )
