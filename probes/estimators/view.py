"""One way to see the features, fitted: linear, or with waves; and which of two is better out of fold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from probes.estimators.linear import LinearProbes
from probes.estimators.outcomes import Targets
from probes.estimators.solving.coordinates import Coordinates
from probes.estimators.solving.logistic import fit_logistic
from probes.estimators.solving.regression import Regression, fit_regression
from probes.estimators.waves import Enlarged, Waves

Floats = npt.NDArray[np.float64]
Fold = npt.NDArray[np.intp] | None

PSEUDO_DRAWS = 2.0
"""Draws at the pool's mean success rate that every candidate's level is started with."""


class Scale(NamedTuple):
    """Level and slope of each candidate's logit [K]."""

    level: Floats
    slope: Floats


@dataclass(frozen=True, eq=False)
class View:
    """A regression of success rates on some coordinates, and the scale that makes logits of them.

    Attributes
    ----------
    basis
        The coordinates.
    regression, scale
        Fitted on them.
    """

    basis: Coordinates | Enlarged
    regression: Regression
    scale: Scale

    @classmethod
    def fit(
        cls,
        basis: Coordinates | Enlarged,
        z: npt.NDArray[np.float32],
        targets: Targets,
        fold: Fold,
        strengths: tuple[float, ...],
    ) -> View:
        """Fit to outcomes, from the training rows' coordinates z [n, r]."""
        regression = fit_regression(basis, z, targets.rate, targets.weight, fold, tuple(strengths))
        return cls(basis, regression, fit_scale(regression.held - regression.level, targets))

    @classmethod
    def fit_enlarged(
        cls,
        coordinates: Coordinates,
        z: npt.NDArray[np.float32],
        count: int,
        targets: Targets,
        fold: Fold,
        strengths: tuple[float, ...],
        seed: int,
    ) -> View:
        """The same with so many waves along the leading coordinates."""
        enlarged = Enlarged.fit(coordinates, z, count, seed)
        return cls.fit(enlarged, enlarged.turn(z), targets, fold, strengths)

    @property
    def waves(self) -> Waves | None:
        """The waves, if there are any."""
        return self.basis.waves if isinstance(self.basis, Enlarged) else None

    @property
    def held(self) -> Floats:
        """Out-of-fold logits of the training rows [n, K]."""
        moved = self.regression.held - self.regression.level
        logits: Floats = moved * self.scale.slope + self.scale.level
        return logits

    def probes(self) -> LinearProbes:
        """As arrays."""
        loadings = self.regression.loadings * self.scale.slope
        if not isinstance(self.basis, Enlarged):
            return LinearProbes(*self.basis.fold(self.regression.maps), loadings, self.scale.level)
        weights, offsets, on_waves = self.basis.fold(self.regression.maps)
        return LinearProbes(weights, offsets, loadings, self.scale.level, self.basis.waves, on_waves)


class Gain(NamedTuple):
    """Mean log loss [nats per outcome] by which one view is better than another, and its standard error."""

    mean: float
    error: float

    @property
    def counts(self) -> bool:
        """Whether it is more than chance may be: one standard error (as in `probes.estimators.selection`)."""
        return self.mean > self.error


def gain_of(logit: Floats, other: Floats, targets: Targets) -> Gain:
    """Paired over queries, each by the outcomes that it has."""
    rate, weight = targets
    each = np.logaddexp(0, other) - np.logaddexp(0, logit) - rate * (other - logit)
    of_query, total = (weight * each).sum(axis=1), max(float(weight.sum()), 1e-30)
    mean = float(of_query.sum()) / total
    spread = of_query - mean * weight.sum(axis=1)
    return Gain(mean, float(np.sqrt((spread**2).sum())) / total)


def fit_scale(moved: Floats, targets: Targets) -> Scale:
    """From the scale of rates to that of logits: a logistic fit per candidate on out-of-fold predictions.

    Around the mean rate r, a logit moves by 1 / (r (1 - r)) of what the rate moves: that is the prior
    of the slope.

    Parameters
    ----------
    moved
        Out-of-fold predictions less the candidate's mean rate [n, K].
    targets
        Outcomes.
    """
    known = targets.weight.sum(axis=0)
    pool = ((targets.weight * targets.rate).sum() + 0.5) / (known.sum() + 1)
    mean = ((targets.weight * targets.rate).sum(axis=0) + PSEUDO_DRAWS * pool) / (known + PSEUDO_DRAWS)
    level, slope = np.empty_like(mean), np.empty_like(mean)
    for m, rate in enumerate(mean):
        prior = np.array([np.log(rate / (1 - rate)), 1 / (rate * (1 - rate))])
        design = np.column_stack([np.ones(len(moved)), moved[:, m]])
        spread = np.array([1.0, 0.25 * prior[1]])
        level[m], slope[m] = fit_logistic(
            design, targets.rate[:, m], targets.weight[:, m], prior_mean=prior, prior_sd=spread
        )
    return Scale(level, np.maximum(slope, 0.0))
