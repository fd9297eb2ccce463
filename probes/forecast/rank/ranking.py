"""From proxies to an order of models, learnt on tasks with known results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from probes.errors import DataError, UsageError
from probes.forecast.rank.proxies import PROXIES
from probes.metrics import spearman

Floats = npt.NDArray[np.float64]
Method: TypeAlias = Literal["linear", "sparse", "single"]

STRENGTH = 0.01
"""C of the RankSVM."""
N_SPARSE = 3
TIE = 0.01
"""Accuracies nearer than this are no preference."""


@dataclass(frozen=True, eq=False)
class Ranker:
    """A linear score of z-scored proxies; higher is better.

    Attributes
    ----------
    weights
        [P]; 0 where a proxy is not used.
    names
        Of the proxies.
    """

    weights: Floats
    names: tuple[str, ...]

    def score(self, proxies: npt.ArrayLike) -> Floats:
        """Scores [M] of M models on one task, from their proxies [M, P] there."""
        return np.asarray(standardised(proxies) @ self.weights)

    @property
    def used(self) -> dict[str, float]:
        """Proxies that count, the weightiest first."""
        order = np.argsort(-np.abs(self.weights))
        return {self.names[i]: float(self.weights[i]) for i in order if self.weights[i]}


def standardised(proxies: npt.ArrayLike) -> Floats:
    """Z-scores over the models of one task [M, P]; a proxy on which they agree, or that is missing, is 0."""
    table = np.asarray(proxies, dtype=np.float64)
    spread = table.std(axis=0)
    centred = table - table.mean(axis=0)
    return np.nan_to_num(np.where(spread > 1e-12, centred / np.where(spread > 1e-12, spread, 1), 0.0))


def fit_ranker(
    proxies: npt.ArrayLike,
    accuracy: npt.ArrayLike,
    *,
    method: Method = "linear",
    names: Sequence[str] = PROXIES,
    strength: float = STRENGTH,
) -> Ranker:
    """Learn a ranker from tasks with known results.

    Parameters
    ----------
    proxies
        [T, M, P]: of M models on T tasks.
    accuracy
        [T, M]: their accuracies, NaN where unknown.
    method
        ``linear``: RankSVM on all proxies; ``sparse``: up to three proxies chosen greedily by mean Spearman
        on these tasks, equally weighted; ``single``: the best one.
    names
        Of the proxies.
    strength
        C of the RankSVM.

    Raises
    ------
    UsageError
        No task tells two models apart.

    Notes
    -----
    RankSVM (Joachims 2002), with squared hinge: min |w|^2 / 2 + C sum max(0, 1 - w (x_a - x_b))^2 over
    pairs in which a beats b.
    """
    table, rate = _checked(proxies, accuracy)
    ready = [standardised(task) for task in table]
    if method == "linear":
        return Ranker(_rank_svm(ready, rate, strength), tuple(names))
    if method in ("sparse", "single"):
        chosen = _greedy(ready, rate, N_SPARSE if method == "sparse" else 1)
        weights = np.zeros(table.shape[2])
        for place, sign in chosen:
            weights[place] += sign / len(chosen)
        return Ranker(weights, tuple(names))
    raise UsageError(f"There is no method {method!r}.", param="method", hint="linear, sparse or single.")


def leave_tasks_out(
    proxies: npt.ArrayLike,
    accuracy: npt.ArrayLike,
    groups: Sequence[str],
    *,
    method: Method = "linear",
    strength: float = STRENGTH,
) -> Floats:
    """Scores [T, M] of every task by a ranker that has seen no task of its group.

    Parameters
    ----------
    proxies, accuracy, method, strength
        As for `fit_ranker`.
    groups
        Of each task [T]; e.g. the family, so that both ways to answer it are held out together.
    """
    table, rate = _checked(proxies, accuracy)
    group = np.array(groups)
    scores = np.full(rate.shape, np.nan)
    for name in dict.fromkeys(groups):
        out = group == name
        ranker = fit_ranker(table[~out], rate[~out], method=method, strength=strength)
        for task in np.flatnonzero(out):
            scores[task] = ranker.score(table[task])
    return scores


def mean_spearman(scores: npt.ArrayLike, accuracy: npt.ArrayLike) -> float:
    """Mean rank correlation of scores and accuracies [T, M] over tasks; tasks of one level are left out."""
    found = [
        spearman(s[~np.isnan(a)], a[~np.isnan(a)])
        for s, a in zip(np.asarray(scores), np.asarray(accuracy), strict=True)
    ]
    known = [value for value in found if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def pairs_right(score: npt.ArrayLike, accuracy: npt.ArrayLike, *, tie: float = TIE) -> tuple[int, int]:
    """Pairs of models in the right order, and pairs in all; accuracies nearer than `tie` are no pair."""
    s, a = np.asarray(score, np.float64), np.asarray(accuracy, np.float64)
    pairs = [(i, j) for i, j in combinations(range(len(a)), 2) if abs(a[i] - a[j]) > tie]
    return sum((s[i] - s[j]) * (a[i] - a[j]) > 0 for i, j in pairs), len(pairs)


def _checked(proxies: npt.ArrayLike, accuracy: npt.ArrayLike) -> tuple[Floats, Floats]:
    table, rate = np.asarray(proxies, np.float64), np.asarray(accuracy, np.float64)
    if table.ndim != 3 or rate.shape != table.shape[:2]:
        raise DataError(
            f"Proxies must be [tasks, models, P] with accuracies [tasks, models], not {list(table.shape)}"
            f" with {list(rate.shape)}",
            param="proxies",
        )
    return table, rate


def _pairs(rate: Floats) -> Iterable[tuple[int, int]]:
    for i, j in combinations(range(len(rate)), 2):
        if abs(rate[i] - rate[j]) > TIE:  # False for NaN
            yield (i, j) if rate[i] > rate[j] else (j, i)


def _rank_svm(ready: Sequence[Floats], rate: Floats, strength: float) -> Floats:
    from sklearn.svm import LinearSVC

    gaps = [task[a] - task[b] for task, levels in zip(ready, rate, strict=True) for a, b in _pairs(levels)]
    if not gaps:
        raise UsageError(
            "No task tells two models apart: there is nothing to learn an order from.",
            param="results",
            hint=f"Give accuracies that differ by more than {TIE}.",
        )
    both = np.concatenate([gaps, -np.array(gaps)])
    sign = np.repeat([1, -1], len(gaps))
    # Each pair stands twice, so half of C for each; C is per thousand pairs, whatever their number.
    machine = LinearSVC(
        C=strength * 1000 / len(both), loss="squared_hinge", dual=False, fit_intercept=False, max_iter=5000
    )
    return np.asarray(machine.fit(both, sign).coef_[0], dtype=np.float64)


def _greedy(ready: Sequence[Floats], rate: Floats, most: int) -> list[tuple[int, float]]:
    """Up to `most` (proxy, sign), each the one that raises the mean Spearman most."""
    chosen: list[tuple[int, float]] = []
    totals = [np.zeros(len(task)) for task in ready]
    best = -np.inf
    ranked = [_Order(levels) for levels in rate]
    for _ in range(most):
        values = np.array(
            [
                [order.agreement(total[:, None] + sign * task) for sign in (1.0, -1.0)]
                for order, total, task in zip(ranked, totals, ready, strict=True)
                if order.tells
            ]
        )
        if not len(values):
            raise UsageError("No task tells two models apart: there is nothing to learn an order from.")
        mean = values.mean(axis=0)
        flip, place = np.unravel_index(int(mean.argmax()), mean.shape)
        if mean[flip, place] <= best + 1e-9:
            break
        best = float(mean[flip, place])
        sign = (1.0, -1.0)[flip]
        chosen.append((int(place), sign))
        totals = [total + sign * task[:, place] for total, task in zip(totals, ready, strict=True)]
    return chosen


class _Order:
    """Ranks of known accuracies, to be compared with many scores at once."""

    def __init__(self, levels: Floats) -> None:
        from scipy.stats import rankdata

        self._rank = rankdata
        self.known = ~np.isnan(levels)
        ranks = rankdata(levels[self.known]) if self.known.any() else np.zeros(0)
        self._target = ranks - ranks.mean() if len(ranks) else ranks
        self.tells = bool((self._target**2).sum() > 0)

    def agreement(self, scores: Floats) -> Floats:
        """Spearman of each column of scores [M, P] with the accuracies [P]; 0 for a constant column."""
        ranks = self._rank(scores[self.known], axis=0)
        ranks = ranks - ranks.mean(axis=0)
        norm = np.sqrt((ranks**2).sum(axis=0) * (self._target**2).sum())
        return np.asarray(np.where(norm > 0, self._target @ ranks / np.where(norm > 0, norm, 1), 0.0))
