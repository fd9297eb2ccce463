"""From a bank's logits to probabilities that can be believed, candidate by candidate, on a split of its own.

Four kinds, by rising freedom: identity, platt (level and slope), beta (Kull, Silva Filho & Flach 2017,
AISTATS, eq. 4) and isotonic (Zadrozny & Elkan 2002). Platt and beta are pulled towards identity by a
prior, so a handful of labels moves little; a freer kind is chosen only where its cross-validated log
loss is lower by more than its standard error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from probes.errors import ArtefactError, DataError
from probes.estimators.outcomes import as_targets
from probes.estimators.solving.logistic import fit_logistic, sigmoid
from probes.splits import grouped_folds

Floats = npt.NDArray[np.float64]
CalibrationKind: TypeAlias = Literal["identity", "platt", "beta", "isotonic"]

KINDS: tuple[CalibrationKind, ...] = ("identity", "platt", "beta", "isotonic")
LEAST_LABELS = 20
"""Below this nothing is chosen: Platt with its prior is the answer."""
LEAST_ISOTONIC = 200
N_FOLDS = 5
SLOPE_SD = 0.5
LEVEL_SD = 1.0


@dataclass(frozen=True, eq=False)
class Curve:
    """One candidate's calibration: logit -> a log p - b log(1 - p) + c, or interpolation between knots.

    Attributes
    ----------
    kind
        One of `KINDS`.
    beta
        (a, b, c); Platt's a and b are equal, identity is (1, 1, 0).
    knots
        [2, knots]: logits, rising, and probabilities, not falling; empty but for isotonic.
    """

    kind: CalibrationKind
    beta: tuple[float, float, float] = (1.0, 1.0, 0.0)
    knots: Floats | None = None

    def __call__(self, logit: Floats) -> Floats:
        """Probabilities of logits."""
        if self.knots is not None:
            smooth: Floats = np.interp(logit, self.knots[0], self.knots[1])
            return smooth
        a, b, c = self.beta
        return sigmoid(b * np.logaddexp(0, logit) - a * np.logaddexp(0, -logit) + c)


class Calibrator:
    """Calibration of K candidates.

    Parameters
    ----------
    curves
        One for each candidate.

    Examples
    --------
    >>> import numpy as np
    >>> Calibrator.identity(2).transform(np.zeros((1, 2)))
    array([[0.5, 0.5]])
    """

    def __init__(self, curves: tuple[Curve, ...]) -> None:
        self.curves = curves
        self._beta = np.array([curve.beta for curve in curves]).T  # [3, K]
        self._isotonic = [m for m, curve in enumerate(curves) if curve.knots is not None]
        self._plain = bool(np.array_equal(self._beta[0], self._beta[1]))

    @classmethod
    def identity(cls, n_candidates: int) -> Calibrator:
        """No calibration."""
        return cls((Curve("identity"),) * n_candidates)

    @classmethod
    def fit(
        cls,
        logits: npt.ArrayLike,
        correct: npt.ArrayLike,
        *,
        trials: npt.ArrayLike | None = None,
        groups: npt.ArrayLike | None = None,
        kinds: tuple[CalibrationKind, ...] = KINDS,
        seed: int = 0,
    ) -> Calibrator:
        """Fit on the calibration split.

        Parameters
        ----------
        logits
            Of a bank that has not seen these queries [n, K].
        correct, trials
            Outcomes [n, K], NaN where missing, and the draws behind each.
        groups
            Group of each query [n], kept whole in cross-validation.
        kinds
            What may be chosen.
        seed
            For the folds.

        Raises
        ------
        DataError
            If shapes do not fit or a logit is not finite.
        """
        matrix = np.asarray(logits, dtype=np.float64)
        if matrix.ndim != 2 or not np.isfinite(matrix).all():
            raise DataError("Logits must be a finite matrix [queries, candidates]", param="logits")
        rate, weight = as_targets(correct, trials, len(matrix))
        if rate.shape != matrix.shape:
            raise DataError(f"Logits are {matrix.shape}, outcomes {rate.shape}", param="correct")
        labels = np.arange(len(matrix)) if groups is None else np.asarray(groups)
        curves = []
        for m in range(matrix.shape[1]):
            seen = weight[:, m] > 0
            column = _Labels(matrix[seen, m], rate[seen, m], weight[seen, m], labels[seen])
            curves.append(_choose(column, kinds, seed))
        return cls(tuple(curves))

    def with_curve(self, curve: Curve, candidate: int | None = None) -> Calibrator:
        """With another curve for one candidate, or, without its column, for one candidate more."""
        curves = list(self.curves)
        if candidate is None:
            curves.append(curve)
        else:
            curves[candidate] = curve
        return Calibrator(tuple(curves))

    def adjusted(self, candidate: int, level: float, slope: float) -> Calibrator:
        """With one candidate's calibrated logits put through ``level + slope * logit``; its kind stays."""
        curve = self.curves[candidate]
        a, b, c = (slope * value for value in curve.beta)
        knots = curve.knots
        if knots is not None:
            logit = np.log(knots[1] / (1 - knots[1]))
            knots = np.stack([knots[0], sigmoid(level + slope * logit)])
        kind: CalibrationKind = "platt" if curve.kind == "identity" else curve.kind
        return self.with_curve(Curve(kind, (a, b, c + level), knots), candidate)

    @property
    def kinds(self) -> tuple[CalibrationKind, ...]:
        """What was chosen for each candidate."""
        return tuple(curve.kind for curve in self.curves)

    def transform(self, logits: npt.NDArray[np.floating]) -> Floats:
        """Probabilities [n, K] of logits [n, K]."""
        a, b, c = self._beta
        if self._plain:
            success = sigmoid(a * logits + c)
        else:
            success = sigmoid(b * np.logaddexp(0, logits) - a * np.logaddexp(0, -logits) + c)
        for m in self._isotonic:
            success[:, m] = self.curves[m](logits[:, m].astype(np.float64))
        return success

    def to_arrays(self) -> dict[str, Floats]:
        """Arrays by name, float64."""
        knots = {f"knots.{m}": curve.knots for m, curve in enumerate(self.curves) if curve.knots is not None}
        return {"beta": self._beta, **knots}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.floating]], kinds: list[str]) -> Calibrator:
        """The inverse of `to_arrays` and `kinds`.

        Raises
        ------
        ArtefactError
            If an array is missing or does not fit.
        """
        try:
            beta = np.asarray(arrays["beta"], dtype=np.float64)
            if beta.shape != (3, len(kinds)) or not set(kinds) <= set(KINDS):
                raise ArtefactError("The calibration does not fit the probes", param="calibration")
            curves = [
                Curve(kind, tuple(beta[:, m]), arrays[f"knots.{m}"] if kind == "isotonic" else None)  # type: ignore[arg-type]
                for m, kind in enumerate(kinds)
            ]
        except KeyError as exc:
            raise ArtefactError(f"The calibration lacks the array {exc}", param="calibration") from exc
        return cls(tuple(curves))


@dataclass(frozen=True, eq=False)
class _Labels:
    """What is known of one candidate."""

    logit: Floats
    rate: Floats
    weight: Floats
    groups: npt.NDArray[np.generic]

    def take(self, rows: npt.NDArray[np.bool_]) -> _Labels:
        return _Labels(self.logit[rows], self.rate[rows], self.weight[rows], self.groups[rows])

    def losses(self, curve: Curve) -> Floats:
        """Weighted negative log-likelihood of each row, nats."""
        p = np.clip(curve(self.logit), 1e-12, 1 - 1e-12)
        return -self.weight * (self.rate * np.log(p) + (1 - self.rate) * np.log1p(-p))


def _choose(labels: _Labels, kinds: tuple[CalibrationKind, ...], seed: int) -> Curve:
    """The simplest kind that no freer one beats by more than a standard error."""
    n = len(labels.logit)
    allowed = [kind for kind in KINDS if kind in kinds and (kind != "isotonic" or n >= LEAST_ISOTONIC)]
    n_groups = len(np.unique(labels.groups))
    if not n or not allowed:
        return Curve("identity")
    if n < LEAST_LABELS or n_groups < N_FOLDS or len(allowed) == 1:
        return _fit(labels, "platt" if "platt" in allowed else allowed[0])
    fold = grouped_folds(labels.groups, N_FOLDS, seed)
    best = allowed[0]
    best_losses = _held_out(labels, best, fold)
    for kind in allowed[1:]:
        losses = _held_out(labels, kind, fold)
        gain = best_losses - losses
        if gain.sum() > np.sqrt(n) * gain.std():
            best, best_losses = kind, losses
    return _fit(labels, best)


def _held_out(labels: _Labels, kind: CalibrationKind, fold: npt.NDArray[np.intp]) -> Floats:
    losses = np.empty(len(labels.logit))
    for k in range(N_FOLDS):
        curve = _fit(labels.take(fold != k), kind)
        losses[fold == k] = labels.take(fold == k).losses(curve)
    return losses


def _fit(labels: _Labels, kind: CalibrationKind) -> Curve:
    if kind == "identity":
        return Curve(kind)
    if kind == "isotonic":
        return Curve(kind, knots=_isotonic(labels))
    ones = np.ones_like(labels.logit)
    if kind == "platt":
        c, a = _map(labels, np.column_stack([ones, labels.logit]))
        return Curve(kind, (max(a, 0.0), max(a, 0.0), c))
    design = np.column_stack([ones, -np.logaddexp(0, -labels.logit), np.logaddexp(0, labels.logit)])
    c, a, b = _map(labels, design)
    if min(a, b) < 0:  # a falling curve would reverse the probe's ranking
        return Curve(kind, _fit(labels, "platt").beta)
    return Curve(kind, (a, b, c))


def _map(labels: _Labels, design: Floats) -> tuple[float, ...]:
    identity = np.ones(design.shape[1])
    identity[0] = 0.0
    spread = np.full(design.shape[1], SLOPE_SD)
    spread[0] = LEVEL_SD
    found = fit_logistic(design, labels.rate, labels.weight, prior_mean=identity, prior_sd=spread)
    return tuple(float(value) for value in found)


def _isotonic(labels: _Labels) -> Floats:
    """Knots of the isotonic regression, kept from 0 and 1 by half a draw at either end."""
    from sklearn.isotonic import IsotonicRegression

    inside = 0.5 / (labels.weight.sum() + 1)
    model = IsotonicRegression(y_min=inside, y_max=1 - inside, out_of_bounds="clip")
    model.fit(labels.logit, labels.rate, sample_weight=labels.weight)
    return np.stack([model.X_thresholds_, model.y_thresholds_]).astype(np.float64)
