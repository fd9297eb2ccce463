"""Whose difficulty do activations hold: people's, or each candidate's own?

Paper A (arXiv 2602.09924, section 5) finds that human difficulty is easier to read out than a model's own
success, and that the two drift apart as models reason longer. Here anybody can ask that of an outcome set
whose queries have a difficulty that people (or a generator) gave them:

>>> from eval.difficulty import whose_difficulty
>>> found = whose_difficulty(outcomes, activations, "level")     # doctest: +SKIP
>>> found.human, found.candidates[0].own                          # doctest: +SKIP

Both are probed alike: ridge regression on the same activations, predictions out of fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eval.harness.sample import strata_of
from eval.outcomes import Outcomes
from eval.tables import Floats
from probes.encoders.encoder import Activations
from probes.errors import DataError
from probes.estimators.solving.coordinates import Coordinates
from probes.estimators.solving.regression import STRENGTHS
from probes.estimators.solving.ridge import Ridge, out_of_fold
from probes.metrics import auroc, auroc_within, spearman
from probes.splits import grouped_folds

if TYPE_CHECKING:
    from rich.table import Table

LEAST = 50
THINKS = (":think", "+cot")
"""Endings of a candidate's name that say that it thinks before it answers."""


@dataclass(frozen=True)
class Own:
    """One candidate.

    Attributes
    ----------
    name : str
        Its name.
    success : float
        Its mean success rate.
    own : float
        Spearman's correlation of its success with what a probe for it predicts, out of fold.
    ceiling : float
        What `own` can reach at most with so few draws a question; NaN for single draws.
    auroc, auroc_within : float
        Of the same predictions; within datasets (or categories, families).
    human_auroc, human_auroc_within : float
        Of the probe for human difficulty, which has never seen this candidate.
    human_correlation : float
        Spearman's correlation of its success with human difficulty; negative where people's hard questions
        are hard for it.
    readout_correlation : float
        Spearman's correlation of the two probes' predictions.
    """

    name: str
    success: float
    own: float
    ceiling: float
    auroc: float
    auroc_within: float
    human_auroc: float
    human_auroc_within: float
    human_correlation: float
    readout_correlation: float


@dataclass(frozen=True)
class Thinking:
    """How a candidate moves when it thinks first: figures of `Own`, thinking minus direct."""

    direct: str
    think: str
    own: float
    human_correlation: float
    readout_correlation: float


@dataclass(frozen=True)
class WhoseDifficulty:
    """What the activations hold of either difficulty.

    Attributes
    ----------
    column : str
        The field of the queries that holds human difficulty.
    queries : int
        Queries that have it.
    human, human_within : float
        Spearman's correlation of human difficulty with what its probe predicts, out of fold: over all
        queries, and mean within datasets (or categories, families).
    candidates : tuple of Own
        Every candidate.
    thinking : tuple of Thinking
        Candidates of which a direct and a thinking version are there.
    """

    column: str
    queries: int
    human: float
    human_within: float
    candidates: tuple[Own, ...]
    thinking: tuple[Thinking, ...]

    def to_json(self) -> dict[str, Any]:
        """All figures; those that do not exist are null."""
        found: dict[str, Any] = _plain(asdict(self))
        return found


def whose_difficulty(
    outcomes: Outcomes, activations: Activations, column: str, *, n_folds: int = 5, seed: int = 0
) -> WhoseDifficulty:
    """Probe human difficulty and every candidate's success on the same activations.

    Parameters
    ----------
    outcomes : Outcomes
        Queries whose ``queries.jsonl`` has a numeric field `column`; those without it are left out.
    activations : Activations
        Of all queries of `outcomes`.
    column : str
        Such as ``level`` or ``difficulty``; higher is harder.
    n_folds, seed : int
        Folds are grouped by question.

    Raises
    ------
    DataError
        Too few queries have a number there.
    """
    human = _column(outcomes, column)
    rows = np.flatnonzero(~np.isnan(human))
    outcomes, human = outcomes.take(rows), human[rows]
    targets = np.column_stack([human, np.nan_to_num(outcomes.correct)])
    weights = np.column_stack([np.ones(len(rows)), outcomes.answered])
    fold = grouped_folds(np.array(outcomes.groups), n_folds, seed)
    predicted = _held_out(activations.take(rows).features(), targets, weights, fold)
    strata = np.array(strata_of(outcomes))
    candidates = tuple(
        _own(outcomes, k, human, predicted[:, 0], predicted[:, 1 + k], strata)
        for k in range(len(outcomes.candidates))
    )
    return WhoseDifficulty(
        column,
        len(rows),
        spearman(predicted[:, 0], human),
        _mean([spearman(predicted[strata == s, 0], human[strata == s]) for s in np.unique(strata)]),
        candidates,
        _thinking(candidates),
    )


def table(found: WhoseDifficulty) -> Table:
    """For the terminal."""
    from rich.table import Table

    title = f"{found.column} of {found.queries:,} queries is read out at {found.human:.3f}"
    caption = (
        f"Spearman's correlations, out of fold (within strata {found.human_within:.3f}); "
        "AUROC: its own probe / the probe for human difficulty."
    )
    shown = Table("", title=title, caption=caption, caption_justify="left")
    for name in ("own success", "ceiling", "AUROC", "within", "with human", "read-outs"):
        shown.add_column(name, justify="right")
    for one in found.candidates:
        pairs = (
            f"{one.auroc:.3f} / {one.human_auroc:.3f}",
            f"{one.auroc_within:.3f} / {one.human_auroc_within:.3f}",
        )
        ceiling = "–" if np.isnan(one.ceiling) else f"{one.ceiling:.3f}"
        last = f"{one.human_correlation:+.3f}", f"{one.readout_correlation:+.3f}"
        shown.add_row(one.name, f"{one.own:.3f}", ceiling, *pairs, *last)
    return shown


def _column(outcomes: Outcomes, column: str) -> Floats:
    """The field as numbers, NaN where there is none."""
    values = np.full(len(outcomes), np.nan)
    for i, extra in enumerate(outcomes.queries.extras):
        value = extra.get(column)
        if isinstance(value, int | float) and not isinstance(value, bool):
            values[i] = value
    count = int((~np.isnan(values)).sum())
    if count < LEAST or np.nanmin(values) == np.nanmax(values):
        fields = sorted({name for extra in outcomes.queries.extras for name in extra})
        raise DataError(
            f"{outcomes.name}: {count} queries have a number in the field {column!r}, or all the same; "
            f"{LEAST} that differ are needed.",
            param="difficulty",
            hint=f"Fields of these queries: {', '.join(fields) or 'none'}.",
        )
    return values


def _held_out(
    features: np.ndarray[Any, np.dtype[np.float32]], targets: Floats, weights: Floats, fold: Any
) -> Floats:
    """Out-of-fold predictions, each fold's strength chosen on the other folds for each target."""
    coordinates = Coordinates.fit(features)
    z = coordinates.transform(features)
    held: list[Floats] = []
    start: Ridge | None = None
    for strength in sorted(STRENGTHS, reverse=True):
        penalty = strength * coordinates.total
        predicted, start = out_of_fold(z, coordinates.spectrum, targets, weights, penalty, fold, start)
        held.append(predicted)
    stacked = np.stack(held)
    loss = weights * (stacked - targets) ** 2
    chosen = np.empty_like(targets)
    for k in np.unique(fold):
        best = loss[:, fold != k].sum(axis=1).argmin(axis=0)
        chosen[fold == k] = stacked[
            best[None, :], np.flatnonzero(fold == k)[:, None], np.arange(targets.shape[1])
        ]
    return chosen


def _own(
    outcomes: Outcomes, k: int, human: Floats, human_readout: Floats, readout: Floats, strata: Any
) -> Own:
    seen = outcomes.answered[:, k]
    rate, draws = outcomes.correct[seen, k], outcomes.samples[seen, k]
    easy, own, where = -human_readout[seen], readout[seen], strata[seen]
    return Own(
        outcomes.candidates[k],
        float(rate.mean()) if len(rate) else float("nan"),
        spearman(own, rate),
        _ceiling(rate, draws),
        auroc(own, rate),
        auroc_within(own, rate, where),
        auroc(easy, rate),
        auroc_within(easy, rate, where),
        spearman(human[seen], rate),
        spearman(human_readout[seen], own),
    )


def _ceiling(rate: Floats, draws: Floats) -> float:
    """Largest correlation with rates of a few draws: the root of their reliability.

    Of the variance of rates, ``rate (1 - rate) / (draws - 1)`` is the draws' (unbiased); Spearman 1904.
    """
    several = draws > 1
    if not several.any() or rate[several].var() <= 0:
        return float("nan")
    noise = (rate * (1 - rate))[several] / (draws[several] - 1)
    return float(np.sqrt(np.clip(1 - noise.mean() / rate[several].var(), 0, 1)))


def _thinking(candidates: Sequence[Own]) -> tuple[Thinking, ...]:
    named = {one.name: one for one in candidates}
    pairs = [
        (named[direct], think)
        for name, think in named.items()
        for ending in THINKS
        if name.endswith(ending) and (direct := name.removesuffix(ending)) in named
    ]
    return tuple(
        Thinking(
            direct.name,
            think.name,
            think.own - direct.own,
            think.human_correlation - direct.human_correlation,
            think.readout_correlation - direct.readout_correlation,
        )
        for direct, think in pairs
    )


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value
