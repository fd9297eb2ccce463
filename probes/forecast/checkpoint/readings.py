"""What probes of a checkpoint read, from one vector of activations to all of them with a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from probes.errors import DataError
from probes.estimators.linear import LinearProbes
from probes.estimators.solving.coordinates import Coordinates
from probes.estimators.solving.logistic import fit_logistic
from probes.forecast.checkpoint.pooling import AttentionPooling
from probes.forecast.checkpoint.states import DOUBTS, States

Floats = npt.NDArray[np.float64]
Features = npt.NDArray[np.float32]

MAX_RANK = 256
SPREADS = (0.03, 0.1, 0.3, 1.0)
"""Prior standard deviations of a standardised coordinate's weight that are tried."""
TINY = 1e-9
"""Spread below which a feature counts for nothing."""


def _last(states: States) -> Features:
    return states.layers[:, -1, 0].astype(np.float32)


def _mean(states: States) -> Features:
    return states.layers[:, -1, 1].astype(np.float32)


def _layers(states: States) -> Features:
    return states.layers[:, 1:].reshape(len(states), -1).astype(np.float32)


def _doubt(states: States) -> Features:
    every = states.layers.reshape(len(states), -1).astype(np.float32)
    return np.concatenate([states.doubt, every], axis=1)


RICHEST = "doubt"
VIEWS: Mapping[str, Callable[[States], Features]] = MappingProxyType(
    {"last": _last, "mean": _mean, "layers": _layers, RICHEST: _doubt}
)
"""What each linear probe reads, the simplest first."""
LEADING = MappingProxyType({RICHEST: len(DOUBTS)})
"""How many of a view's features, the first, stand beside its principal coordinates and not among them."""


@dataclass(frozen=True, eq=False)
class LinearReading:
    """A logistic probe on a view's principal coordinates: ``standardised(features) @ weights + offset``."""

    view: str
    weights: Floats
    offset: float
    mean: Floats
    scale: Floats

    def logit(self, states: States, *, centre: bool = False) -> Floats:
        """Logits [n]; `centre` standardises by these prompts' own moments instead of the fitted ones."""
        return np.asarray(self.standardised(states, centre=centre) @ self.weights + self.offset)

    def standardised(self, states: States, *, centre: bool = False) -> Floats:
        """The view's features [n, F], of mean 0 and variance 1 where the probe was fitted."""
        features = VIEWS[self.view](states).astype(np.float64)
        if features.shape[1] != len(self.weights):
            raise DataError(
                f"The checkpoint's states are {features.shape[1]} wide, the probe {len(self.weights)}.",
                param="models",
                hint="A probe fits checkpoints of the same training run only.",
            )
        mean, scale = (features.mean(axis=0), features.std(axis=0)) if centre else (self.mean, self.scale)
        return np.asarray((features - mean) * _ratio(scale))


@dataclass(frozen=True, eq=False)
class BlendedReading:
    """The mean logit of a linear probe and of the router's bank (`ProbeBank`) on the same features."""

    linear: LinearReading
    bank: LinearProbes

    def logit(self, states: States, *, centre: bool = False) -> Floats:
        """Logits [n]; `centre` as for the linear probe."""
        features = self.linear.standardised(states, centre=centre)
        linear = features @ self.linear.weights + self.linear.offset
        seen = (features * self.linear.scale + self.linear.mean).astype(np.float32)
        return np.asarray((linear + self.bank.decision_function(seen)[:, 0]) / 2)


Reading = LinearReading | AttentionPooling | BlendedReading


def fit_linear(view: str, states: States, rate: Floats, weight: Floats) -> LinearReading:
    """A probe on a view of states [n], to success rates [n] of so many draws each."""
    features, first = VIEWS[view](states), LEADING.get(view, 0)
    own, rest = features[:, :first], features[:, first:]
    coordinates = Coordinates.fit(rest, max_rank=min(MAX_RANK, max(1, len(rate) // 3)))
    rank = min(coordinates.rank, MAX_RANK, max(1, len(rate) // 3))
    spread = np.sqrt(coordinates.spectrum[:rank] / coordinates.n_rows)
    mean, scale = own.mean(axis=0, dtype=np.float64), own.std(axis=0, dtype=np.float64)
    z = np.column_stack([(own - mean) * _ratio(scale), coordinates.transform(rest)[:, :rank] / spread])
    relative = np.concatenate([np.ones(first), spread / spread[0]])
    solved = _solve(z.astype(np.float64), relative, rate, weight)
    maps = np.zeros(coordinates.rank)
    maps[:rank] = solved[1 + first :] / spread
    weights = np.concatenate([solved[1 : 1 + first], coordinates.basis.astype(np.float64) @ maps])
    flat = np.where(np.isfinite(coordinates.scale), coordinates.scale, 0.0)
    mean, scale = np.concatenate([mean, coordinates.mean]), np.concatenate([scale, flat])
    return LinearReading(view, weights, float(solved[0]), mean, scale)


def losses(logit: Floats, rate: Floats) -> Floats:
    """Binomial loss of each question [n] in nats a draw."""
    return np.logaddexp(0, logit) - rate * logit


def _ratio(scale: Floats) -> Floats:
    return np.where(scale > TINY, 1 / np.maximum(scale, TINY), 0.0)


def _solve(z: Floats, relative: Floats, rate: Floats, weight: Floats) -> Floats:
    """Coefficients with the ridge that does best on every fourth question.

    A ridge on the features themselves: in standardised coordinates the leading ones are shrunk least.
    """
    held = np.arange(len(rate)) % 4 == 0

    def solved(rows: npt.NDArray[np.bool_], spread: float) -> Floats:
        design = np.column_stack([np.ones(rows.sum()), z[rows]])
        sd = np.concatenate([[10.0], np.maximum(spread * len(relative) ** 0.5 * relative, 1e-6)])
        return fit_logistic(design, rate[rows], weight[rows], prior_mean=np.zeros(len(sd)), prior_sd=sd)

    def loss(spread: float) -> float:
        found = solved(~held, spread)
        return float(weight[held] @ losses(found[0] + z[held] @ found[1:], rate[held]))

    return solved(np.ones(len(rate), dtype=bool), min(SPREADS, key=loss))
