"""From an outcome set to the complete table that routers can be compared on.

A router may choose any candidate for any query, so its choice must have an outcome. Candidates that
answered too few queries are left out, then queries that some candidate left open; both are reported.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eval.baselines.base import Features
from eval.metrics.curves import Singles
from eval.outcomes import Outcomes
from eval.tables import Floats
from probes.encoders.encoder import Activations
from probes.errors import DataError

Bools = np.ndarray[Any, np.dtype[np.bool_]]

FEW = 200
"""Below this many questions an interval is too wide to decide anything."""


@dataclass(frozen=True)
class Sample:
    """What a comparison works on.

    Attributes
    ----------
    outcomes : Outcomes
        n queries by K candidates without a gap; costs are zero when the set has none.
    features : ndarray of shape (n, F)
        The scout's activations; F is 0 without a scout.
    scout_cost : ndarray of shape (n,)
        What reading each query costs, in US dollars.
    strata : tuple of str
        What AUROC is taken within: the dataset, or the category where there is one dataset.
    priced : bool
        Whether costs are known.
    notes : tuple of str
        What a reader must know about the data.
    slices : int
        Layers times positions in the features.
    """

    outcomes: Outcomes
    features: Features
    scout_cost: Floats
    strata: tuple[str, ...]
    priced: bool
    notes: tuple[str, ...]
    slices: int = 1

    @property
    def singles(self) -> Singles:
        """Mean cost and accuracy of every candidate over all queries."""
        return Singles(self.outcomes.cost_usd.mean(axis=0), self.outcomes.correct.mean(axis=0))


def prepare(
    outcomes: Outcomes,
    activations: Activations | None,
    *,
    scout_usd_per_mtok: float = 0.0,
    min_coverage: float = 0.9,
) -> Sample:
    """Make the table complete.

    Parameters
    ----------
    outcomes : Outcomes
        Any outcome set.
    activations : Activations, optional
        The scout's activations of all its queries.
    scout_usd_per_mtok : float
        Price of the scout's prefill, US dollars per million prompt tokens.
    min_coverage : float
        Candidates that answered a smaller share of the queries are left out.

    Raises
    ------
    DataError
        Fewer than two candidates or too few queries remain.
    """
    notes: list[str] = []
    keep = _covered(outcomes, min_coverage, notes)
    outcomes = outcomes.select([outcomes.candidates[k] for k in np.flatnonzero(keep)])
    rows = np.asarray(outcomes.answered.all(axis=1))
    if not rows.all():
        notes.append(f"{int((~rows).sum()):,} of {len(rows):,} queries lack an outcome and are left out.")
    if len(outcomes.candidates) < 2 or rows.sum() < 10:
        raise DataError(
            f"{outcomes.name}: {int(rows.sum())} queries answered by all of {len(outcomes.candidates)} "
            "candidates are too few to compare routers.",
            hint="Collect more outcomes, or let only the candidates in that answered most: --min-coverage.",
        )
    index = np.flatnonzero(rows)
    complete, priced = _priced(outcomes.take(index), notes)
    if len(set(complete.groups)) < FEW:
        notes.append(f"Only {len(set(complete.groups))} questions: the intervals are too wide to be of use.")
    features: Features = np.zeros((len(index), 0), dtype=np.float32)
    scout_cost: Floats = np.zeros(len(index))
    slices = 1
    if activations is not None:
        taken = activations.take(index)
        features = taken.features()
        slices = taken.values.shape[1] * taken.values.shape[2]
        scout_cost = taken.n_tokens.astype(np.float64) * scout_usd_per_mtok / 1e6
    return Sample(complete, features, scout_cost, strata_of(complete), priced, tuple(notes), slices)


def _covered(outcomes: Outcomes, min_coverage: float, notes: list[str]) -> Bools:
    coverage = outcomes.answered.mean(axis=0)
    keep = coverage >= min_coverage * coverage.max()
    if not keep.all():
        left = [f"{outcomes.candidates[k]} ({coverage[k]:.0%})" for k in np.flatnonzero(~keep)]
        shown = ", ".join(left[:8]) + (f" and {len(left) - 8} more" if len(left) > 8 else "")
        notes.append(f"Left out, because they answered too few queries: {shown}.")
    return np.asarray(keep)


def _priced(outcomes: Outcomes, notes: list[str]) -> tuple[Outcomes, bool]:
    """Fill gaps in the costs with the candidate's mean; zeros when a candidate has no cost at all."""
    missing = np.isnan(outcomes.cost_usd)
    if missing.all(axis=0).any():
        notes.append("The set has no costs for every candidate: accuracy only.")
        return replace(outcomes, cost_usd=np.zeros_like(outcomes.cost_usd)), False
    if missing.any():
        notes.append(f"{int(missing.sum()):,} missing costs are filled with the candidate's mean.")
    means = np.asarray(np.nanmean(outcomes.cost_usd, axis=0), dtype=np.float64)
    cost = np.asarray(np.where(missing, means, outcomes.cost_usd), dtype=np.float64)
    if not cost.any():
        notes.append("Every cost is zero: accuracy only.")
        return replace(outcomes, cost_usd=cost), False
    if np.ptp(cost.mean(axis=0)) == 0:
        notes.append("Every candidate costs the same: there is nothing to save.")
    return replace(outcomes, cost_usd=cost), True


def strata_of(outcomes: Outcomes) -> tuple[str, ...]:
    """What AUROC is taken within: the dataset, or the category where there is one dataset."""
    if len(set(outcomes.datasets)) > 1:
        return outcomes.datasets
    for name in ("family", "category", "subject", "domain"):
        labels = tuple(str(extra.get(name, "")) for extra in outcomes.queries.extras)
        if 1 < len(set(labels)) <= len(labels) // 10:
            return labels
    return outcomes.datasets
