"""Probes on a checkpoint's own activations, and what they say of later checkpoints.

Source: arXiv 2604.01025. The ladder of probes, from simple to rich; the simplest within one standard error of
the best is kept. Binomial loss: k of n draws right count as k successes and n - k failures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from probes.errors import DataError, UsageError
from probes.estimators.outcomes import as_targets
from probes.estimators.solving.coordinates import Coordinates
from probes.estimators.solving.logistic import fit_logistic, sigmoid
from probes.forecast.checkpoint.pooling import AttentionPooling, fit_pooling
from probes.forecast.checkpoint.states import DOUBTS, States
from probes.metrics import auroc, auroc_within
from probes.splits import grouped_folds

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

MAX_RANK = 256
SPREADS = (0.03, 0.1, 0.3, 1.0)
"""Prior standard deviations of a standardised coordinate's weight that are tried."""
N_FOLDS = 5
LEAST_QUESTIONS = 20
TINY = 1e-9
"""Spread below which a feature counts for nothing."""


def _last(states: States) -> npt.NDArray[np.float32]:
    return states.layers[:, -1, 0].astype(np.float32)


def _mean(states: States) -> npt.NDArray[np.float32]:
    return states.layers[:, -1, 1].astype(np.float32)


def _layers(states: States) -> npt.NDArray[np.float32]:
    return states.layers[:, 1:].reshape(len(states), -1).astype(np.float32)


def _doubt(states: States) -> npt.NDArray[np.float32]:
    every = states.layers.reshape(len(states), -1).astype(np.float32)
    return np.concatenate([states.doubt, every], axis=1)


VIEWS: Mapping[str, Callable[[States], npt.NDArray[np.float32]]] = MappingProxyType(
    {"last": _last, "mean": _mean, "layers": _layers, "doubt": _doubt}
)
"""What each linear probe reads, the simplest first."""
LEADING = MappingProxyType({"doubt": len(DOUBTS)})
"""How many of a view's features, the first, stand beside its principal coordinates and not among them."""
ATTENTION = "attention"
LADDER = (*VIEWS, ATTENTION)


@dataclass(frozen=True, eq=False)
class LinearReading:
    """A logistic probe on a view's principal coordinates: ``features @ weights + offset``."""

    view: str
    weights: Floats
    offset: float
    mean: Floats
    scale: Floats

    def logit(self, states: States, *, centre: bool = False) -> Floats:
        """Logits [n]; `centre` standardises by these prompts' own moments instead of the fitted ones."""
        features = VIEWS[self.view](states).astype(np.float64)
        if features.shape[1] != len(self.weights):
            raise DataError(
                f"The checkpoint's states are {features.shape[1]} wide, the probe {len(self.weights)}.",
                param="models",
                hint="A probe fits checkpoints of the same training run only.",
            )
        mean, scale = (features.mean(axis=0), features.std(axis=0)) if centre else (self.mean, self.scale)
        ratio = np.where(scale > TINY, 1 / np.maximum(scale, TINY), 0.0)
        return np.asarray(((features - mean) * ratio) @ self.weights + self.offset)


Reading = LinearReading | AttentionPooling


@dataclass(frozen=True, eq=False)
class Rung:
    """How one probe of the ladder did out of fold.

    Attributes
    ----------
    name
        Of `LADDER`.
    loss, loss_error
        Binomial loss in nats a draw, and the standard error of its difference to the best probe's.
    auroc
        Out of fold, over all questions.
    logit
        Out-of-fold logits [n].
    """

    name: str
    loss: float
    loss_error: float
    auroc: float
    logit: Floats


@dataclass(frozen=True, eq=False)
class CheckpointProbe:
    """The chosen probe, fitted on one checkpoint, and the ladder that it was chosen from.

    Attributes
    ----------
    chosen
        Its name.
    reading
        Itself.
    rungs
        The whole ladder, out of fold.
    """

    chosen: str
    reading: Reading
    rungs: tuple[Rung, ...]

    def predict(self, states: States, *, centre: bool = False) -> Floats:
        """Success probabilities [n] of this checkpoint, or of a later one whose states these are.

        `centre` standardises by the given prompts' own moments: activations grow and drift as a run goes on.
        """
        return sigmoid(self.reading.logit(states, centre=centre))

    @property
    def out_of_fold(self) -> Floats:
        """The chosen probe's success probabilities of the fitted questions [n], each from the others."""
        return sigmoid(next(rung.logit for rung in self.rungs if rung.name == self.chosen))


def fit_probe(
    states: States,
    correct: npt.ArrayLike,
    *,
    trials: npt.ArrayLike | None = None,
    groups: Sequence[str] | None = None,
    ladder: Sequence[str] = LADDER,
    seed: int = 0,
) -> CheckpointProbe:
    """Fit the ladder on one checkpoint's graded questions and keep the simplest good probe.

    Parameters
    ----------
    states
        Of n questions.
    correct, trials
        Success rates [n], NaN where missing, and draws behind each.
    groups
        Questions that must not part, [n].
    ladder
        Probes to compare, of `LADDER`, the simplest first.
    seed
        For the folds.

    Raises
    ------
    UsageError
        Fewer than 20 questions are graded, or all are right, or all wrong.
    """
    rate, weight = (column[:, 0] for column in as_targets(correct, trials, len(states)))
    seen = np.flatnonzero(weight > 0)
    _check(rate[seen])
    if len(seen) < len(states):
        states, rate, weight = states.take(seen), rate[seen], weight[seen]
        groups = None if groups is None else [groups[i] for i in seen.tolist()]
    names = np.arange(len(rate)) if groups is None else np.asarray(groups)
    fold = grouped_folds(names, min(N_FOLDS, len(np.unique(names))), seed)
    held = {name: _out_of_fold(name, states, rate, weight, fold) for name in ladder}
    losses = {name: _losses(logit, rate) for name, logit in held.items()}
    best = min(ladder, key=lambda name: float(np.average(losses[name], weights=weight)))
    rungs = tuple(
        Rung(
            name,
            float(np.average(losses[name], weights=weight)),
            _error(losses[name] - losses[best], weight),
            auroc(held[name], rate),
            held[name],
        )
        for name in ladder
    )
    least = next(rung.loss for rung in rungs if rung.name == best)
    chosen = next(rung.name for rung in rungs if rung.loss - least <= rung.loss_error)
    return CheckpointProbe(chosen, _fit(chosen, states, rate, weight), rungs)


def agreement(
    forecast: npt.ArrayLike, correct: npt.ArrayLike, tasks: Sequence[str] | None = None
) -> dict[str, float]:
    """AUROC over all questions and within tasks, and the error of the mean."""
    p, rate = np.asarray(forecast, np.float64), np.asarray(correct, np.float64)
    seen = ~np.isnan(rate)
    found: dict[str, Any] = {"auroc": auroc(p, rate), "error": float(p[seen].mean() - rate[seen].mean())}
    if tasks is not None:
        found["auroc_within"] = auroc_within(p, rate, np.array(tasks))
    return found


def _check(rate: Floats) -> None:
    if len(rate) < LEAST_QUESTIONS:
        raise UsageError(
            f"{len(rate)} graded questions are too few to fit a probe.",
            param="prompts",
            hint=f"Give {LEAST_QUESTIONS} or more, some hundreds for a good one.",
        )
    if rate.min() == rate.max():
        raise UsageError(
            f"Every graded question has success {rate.max():g}: there is nothing to tell apart.",
            param="prompts",
            hint="Give questions of which this checkpoint solves some; its set accuracy is that number.",
        )


def _losses(logit: Floats, rate: Floats) -> Floats:
    return np.logaddexp(0, logit) - rate * logit


def _error(difference: Floats, weight: Floats) -> float:
    mean = np.average(difference, weights=weight)
    return float(np.sqrt(((weight * (difference - mean)) ** 2).sum()) / weight.sum())


def _out_of_fold(name: str, states: States, rate: Floats, weight: Floats, fold: Index) -> Floats:
    logit = np.empty(len(rate))
    for k in np.unique(fold):
        train, test = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        reading = _fit(name, states.take(train), rate[train], weight[train])
        logit[test] = reading.logit(states.take(test))
    return logit


def _fit(name: str, states: States, rate: Floats, weight: Floats) -> Reading:
    if name == ATTENTION:
        return fit_pooling(states.tail.astype(np.float32), rate, weight)
    features, first = VIEWS[name](states), LEADING.get(name, 0)
    own, rest = features[:, :first], features[:, first:]
    coordinates = Coordinates.fit(rest, max_rank=min(MAX_RANK, max(1, len(rate) // 3)))
    rank = min(coordinates.rank, MAX_RANK, max(1, len(rate) // 3))
    spread = np.sqrt(coordinates.spectrum[:rank] / coordinates.n_rows)
    mean, scale = own.mean(axis=0, dtype=np.float64), own.std(axis=0, dtype=np.float64)
    ratio = np.where(scale > TINY, 1 / np.maximum(scale, TINY), 0.0)
    z = np.column_stack([(own - mean) * ratio, coordinates.transform(rest)[:, :rank] / spread])
    relative = np.concatenate([np.ones(first), spread / spread[0]])
    solved = _solve(z.astype(np.float64), relative, rate, weight)
    maps = np.zeros(coordinates.rank)
    maps[:rank] = solved[1 + first :] / spread
    weights = np.concatenate([solved[1 : 1 + first], coordinates.basis.astype(np.float64) @ maps])
    flat = np.where(np.isfinite(coordinates.scale), coordinates.scale, 0.0)
    mean, scale = np.concatenate([mean, coordinates.mean]), np.concatenate([scale, flat])
    return LinearReading(name, weights, float(solved[0]), mean, scale)


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
        return float(weight[held] @ _losses(found[0] + z[held] @ found[1:], rate[held]))

    return solved(np.ones(len(rate), dtype=bool), min(SPREADS, key=loss))
