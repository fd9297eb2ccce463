"""Probes on a checkpoint's own activations, and what they say of later checkpoints.

Source: arXiv 2604.01025. The ladder of probes, from simple to rich; the simplest within one standard error of
the best is kept. Binomial loss: k of n draws right count as k successes and n - k failures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from probes.errors import UsageError
from probes.estimators.bank import ProbeBank
from probes.estimators.outcomes import as_targets
from probes.estimators.solving.logistic import sigmoid
from probes.forecast.checkpoint.pooling import AttentionPooling, fit_pooling
from probes.forecast.checkpoint.readings import (
    RICHEST,
    VIEWS,
    BlendedReading,
    LinearReading,
    Reading,
    fit_linear,
    losses,
)
from probes.forecast.checkpoint.states import States
from probes.metrics import auroc, auroc_within
from probes.splits import grouped_folds

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

N_FOLDS = 5
LEAST_QUESTIONS = 20
ATTENTION, BLEND = "attention", "blend"
LADDER = (*VIEWS, ATTENTION, BLEND)
"""Every probe by name, the simplest first."""
CENTRED_FROM = 100
"""Prompts whose moments say enough of a checkpoint."""


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

        `centre` compares prompts in activations that are standardised by these prompts' own moments, for they
        grow and drift as a run goes on; the mean logit stays as the fitted moments have it.
        """
        logit = self.reading.logit(states)
        if centre:
            own = self.reading.logit(states, centre=True)
            logit = own + (logit.mean() - own.mean())
        return sigmoid(logit)

    def predict_later(self, states: States) -> Floats:
        """Success probabilities [n] of a later checkpoint; centred where there are prompts enough."""
        return self.predict(states, centre=len(states) >= CENTRED_FROM)

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
    graded = _Graded.of(states, correct, trials, groups, seed)
    held: dict[str, Floats] = {}
    for name in ladder:
        held[name] = graded.out_of_fold(name, held)
    rungs = _rungs(held, graded.rate, graded.weight)
    least = min(rungs, key=lambda rung: rung.loss)
    chosen = next(rung.name for rung in rungs if rung.loss - least.loss <= rung.loss_error)
    return CheckpointProbe(chosen, graded.fit(chosen), rungs)


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


@dataclass(frozen=True, eq=False)
class _Graded:
    """What probes are fitted to: states of n questions, their success rates [n], and draws behind each."""

    states: States
    rate: Floats
    weight: Floats
    names: npt.NDArray[Any]
    seed: int

    @classmethod
    def of(
        cls,
        states: States,
        correct: npt.ArrayLike,
        trials: npt.ArrayLike | None,
        groups: Sequence[str] | None,
        seed: int,
    ) -> _Graded:
        """The questions that have a grade."""
        rate, weight = (column[:, 0] for column in as_targets(correct, trials, len(states)))
        seen = np.flatnonzero(weight > 0)
        _check(rate[seen])
        names = np.arange(len(rate)) if groups is None else np.asarray(groups)
        if len(seen) < len(states):
            states, rate, weight, names = states.take(seen), rate[seen], weight[seen], names[seen]
        return cls(states, rate, weight, names, seed)

    @cached_property
    def bank(self) -> ProbeBank:
        """The router's bank on everything there is; its folds are ours."""
        bank = ProbeBank(n_folds=N_FOLDS, seed=self.seed)
        return bank.fit(VIEWS[RICHEST](self.states), self.rate, trials=self.weight, groups=self.names)

    def fit(self, name: str) -> Reading:
        """One probe, on all questions."""
        every = np.arange(len(self.rate))
        if name == BLEND:
            return BlendedReading(self._linear(RICHEST, every), self.bank.probes_)
        return self._pooling(every) if name == ATTENTION else self._linear(name, every)

    def out_of_fold(self, name: str, held: Mapping[str, Floats]) -> Floats:
        """Logits [n] of each fold by the probe without it; `held` are those that are known already."""
        if name == BLEND:
            linear = held[RICHEST] if RICHEST in held else self.out_of_fold(RICHEST, held)
            return np.asarray((linear + self.bank.held_out_[:, 0]) / 2)
        logit = np.empty(len(self.rate))
        fold = grouped_folds(self.names, min(N_FOLDS, len(np.unique(self.names))), self.seed)
        for k in np.unique(fold):
            test, train = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
            probe = self._pooling(train) if name == ATTENTION else self._linear(name, train)
            logit[test] = probe.logit(self.states.take(test))
        return logit

    def _linear(self, view: str, rows: Index) -> LinearReading:
        return fit_linear(view, self.states.take(rows), self.rate[rows], self.weight[rows])

    def _pooling(self, rows: Index) -> AttentionPooling:
        return fit_pooling(self.states.tail[rows].astype(np.float32), self.rate[rows], self.weight[rows])


def _rungs(held: Mapping[str, Floats], rate: Floats, weight: Floats) -> tuple[Rung, ...]:
    """How each probe did, given its out-of-fold logits."""
    every = {name: losses(logit, rate) for name, logit in held.items()}
    mean = {name: float(np.average(one, weights=weight)) for name, one in every.items()}
    best = every[min(mean, key=mean.__getitem__)]
    return tuple(
        Rung(name, mean[name], _error(every[name] - best, weight), auroc(held[name], rate), held[name])
        for name in held
    )


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


def _error(difference: Floats, weight: Floats) -> float:
    mean = np.average(difference, weights=weight)
    return float(np.sqrt(((weight * (difference - mean)) ** 2).sum()) / weight.sum())
