"""The probe bank: one probe for each candidate of a pool, solved together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import validate_data

from probes.errors import ArtefactError, DataError
from probes.estimators.blend import Blend
from probes.estimators.linear import LinearProbes
from probes.estimators.outcomes import Targets, as_features, as_targets
from probes.estimators.solving.coordinates import Coordinates
from probes.estimators.solving.logistic import sigmoid
from probes.estimators.solving.regression import STRENGTHS
from probes.estimators.view import Gain, View, gain_of
from probes.scoring.newcomer.canary import Canary
from probes.scoring.newcomer.onboarding import add_candidate, refit_candidate
from probes.splits import grouped_folds

Floats = npt.NDArray[np.float64]

SCHEMA = 3
READABLE = (1, 2, 3)
"""Schemas that can be loaded; 1 knew no waves, 2 no trunk."""
LEAST_ROWS = 512
"""Training queries below which neither waves nor a trunk are tried."""


class ProbeBank(BaseEstimator):
    """Success probabilities of K candidates from one scout's activations.

    ``logit p_m(x) = a_m + s_m g(x) + sum_r U_mr h_r(x)``: a difficulty g that all candidates share and
    a few directions h_r on which they differ. Ridge regressions of the success rates on the features'
    principal coordinates are solved for every strength, fold and candidate from one Gram matrix; their
    out-of-fold predictions say how far each direction is to be trusted
    (`probes.estimators.solving.shrinkage`) and on which scale (a logistic fit of level and slope for each
    candidate).

    Waves of the leading coordinates join the features where that makes out-of-fold predictions better by
    more than one standard error (`probes.estimators.waves`): g and h are then linear in both. By the same
    rule the bank is averaged with a small network of leading coordinates (`probes.estimators.trunk`) that
    learns g and h anew. Otherwise the bank is linear in the activations alone.

    Parameters
    ----------
    strengths
        Ridge penalties to choose among, relative to the Gram matrix's trace; each direction gets its own.
    n_folds
        Folds for out-of-fold predictions; fewer where there are fewer groups.
    max_rank
        Principal coordinates kept where there are very many (see `Coordinates.fit`).
    n_waves
        Waves that are tried; 0 for none, whatever the outcomes say.
    trunk
        Whether a network is tried.
    seed
        For the folds, the Gram matrix's leading directions, the waves and the network.

    Attributes
    ----------
    probes_ : LinearProbes
        The bank as arrays.
    held_out_ : ndarray of shape (n, K)
        Out-of-fold logits of the training queries.
    record_ : dict
        What was chosen, as JSON knows it.
    n_features_in_ : int

    Notes
    -----
    Outcomes may be missing (NaN) and come from any number of draws. A candidate with few outcomes gets
    a level near the pool's and the shared difficulty only; one that was always right, or always wrong,
    likewise stays finite.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 8)).astype(np.float32)
    >>> y = rng.random((200, 3)) < 1 / (1 + np.exp(-X[:, :1]))
    >>> ProbeBank().fit(X, y.astype(float)).predict_proba(X).shape
    (200, 3)
    """

    def __init__(
        self,
        *,
        strengths: tuple[float, ...] = STRENGTHS,
        n_folds: int = 5,
        max_rank: int = 512,
        n_waves: int = 512,
        trunk: bool = True,
        seed: int = 0,
    ) -> None:
        self.strengths = strengths
        self.n_folds = n_folds
        self.max_rank = max_rank
        self.n_waves = n_waves
        self.trunk = trunk
        self.seed = seed

    def fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        trials: npt.ArrayLike | None = None,
        groups: npt.ArrayLike | None = None,
        coordinates: Coordinates | None = None,
    ) -> Self:
        """Fit to outcomes.

        Parameters
        ----------
        X
            Features [n, F].
        y
            Success rates [n, K] in [0, 1], NaN where missing; [n] is one candidate.
        trials
            Draws behind each rate [n, K]; None for one each.
        groups
            Group of each query [n]; a group is never parted by a fold. None: queries of equal features
            are a group.
        coordinates
            Of X, if they are known already.

        Raises
        ------
        DataError
            If something is malformed or not finite, or there is no outcome at all.
        """
        features = self._checked(X, reset=True)
        if y is None:
            raise DataError("A ProbeBank requires y to be passed, but the target y is None", param="correct")
        targets = as_targets(y, trials, len(features))
        if not targets.weight.any():
            raise DataError("There is no outcome to fit to", param="correct")
        coordinates = coordinates or Coordinates.fit(features, self.max_rank, self.seed)
        fold = self._folds(features, groups)
        z = coordinates.transform(features)
        found = View.fit(coordinates, z, targets, fold, self.strengths)
        gain, blend = None, None
        enough = fold if coordinates.rank and len(features) >= LEAST_ROWS else None
        if enough is not None and self.n_waves:
            wavy = View.fit_enlarged(coordinates, z, self.n_waves, targets, fold, self.strengths, self.seed)
            gain = gain_of(wavy.held, found.held, targets)
            found = wavy if gain.counts else found
        self.probes_, self.held_out_ = found.probes(), found.held
        if enough is not None and self.trunk:
            blend = Blend.fit(coordinates, z, self.probes_, self.held_out_, targets, enough, self.seed)
            if blend.gain.counts:
                self.probes_, self.held_out_ = blend.probes.standardised(features), blend.held
        self.record_ = self._record(found, targets, fold, gain, blend)
        return self

    def decision_function(self, X: npt.ArrayLike) -> Floats:
        """Logits of success [n, K] of features [n, F]."""
        probes = self._fitted()
        return probes.decision_function(self._checked(X, reset=False))

    def predict_proba(self, X: npt.ArrayLike) -> Floats:
        """Success probabilities [n, K] of features [n, F], before any calibration on a split of its own."""
        return sigmoid(self.decision_function(X))

    def predict(self, X: npt.ArrayLike) -> Floats:
        """The same as `predict_proba`: a success rate is what is predicted."""
        return self.predict_proba(X)

    def add_candidate(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        trials: npt.ArrayLike | None = None,
        pool_correct: npt.ArrayLike | None = None,
        expected_rate: float | None = None,
    ) -> tuple[ProbeBank, Canary]:
        """A bank with one candidate more: only its level and slopes are fitted (`probes.scoring.newcomer`).

        Parameters
        ----------
        X, y, trials
            Features [n, F], success rates [n] and draws of the new candidate; n may be 0.
        pool_correct
            Success rates of the old candidates on the same queries [n, K]; they make its level more certain.
        expected_rate
            A forecast of its mean success rate.
        """
        grown = add_candidate(
            self._fitted(),
            X,
            y,
            trials=trials,
            pool_correct=pool_correct,
            expected_rate=expected_rate,
            seed=self.seed,
        )
        return self._with(grown.probes), grown.canary

    def refit_candidate(
        self, candidate: int, X: npt.ArrayLike, y: npt.ArrayLike, *, trials: npt.ArrayLike | None = None
    ) -> tuple[ProbeBank, Canary]:
        """A bank in which one candidate has a new level and slope, e.g. for a new checkpoint of it."""
        refitted = refit_candidate(self._fitted(), candidate, X, y, trials=trials, seed=self.seed)
        return self._with(refitted.probes), refitted.canary

    def to_arrays(self) -> dict[str, Floats]:
        """The bank's arrays by name."""
        return self._fitted().to_arrays()

    def meta(self) -> dict[str, Any]:
        """What goes with the arrays, as JSON knows it."""
        self._fitted()
        params = {**self.get_params(), "strengths": list(self.strengths)}
        return {"schema": SCHEMA, "params": params, "record": self.record_}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, npt.NDArray[np.floating]], meta: Mapping[str, Any]
    ) -> ProbeBank:
        """A fitted bank from `to_arrays` and `meta`.

        Raises
        ------
        ArtefactError
            If they are damaged or of another version.
        """
        if meta.get("schema") not in READABLE:
            raise ArtefactError(f"The bank has schema {meta.get('schema')!r}, not {SCHEMA}", param="schema")
        params = {**meta.get("params", {})}
        bank = cls(**{**params, "strengths": tuple(params.get("strengths", STRENGTHS))})
        bank.probes_ = LinearProbes.from_arrays(arrays)
        bank.record_ = dict(meta.get("record", {}))
        bank.n_features_in_ = bank.probes_.n_features
        return bank

    def _checked(self, X: npt.ArrayLike, *, reset: bool) -> npt.NDArray[np.float32]:
        """Features as scikit-learn checks them: no sparse, complex or ragged ones, nor of another width."""
        try:
            checked = validate_data(self, X, reset=reset, ensure_all_finite=False)
        except ValueError as exc:
            raise DataError(str(exc), param="features") from exc
        return as_features(checked)

    def _with(self, probes: LinearProbes) -> ProbeBank:
        return ProbeBank.from_arrays(probes.to_arrays(), self.meta())

    def _fitted(self) -> LinearProbes:
        if not hasattr(self, "probes_"):
            raise NotFittedError("This ProbeBank is not fitted; call fit first")
        return self.probes_

    def _folds(
        self, features: npt.NDArray[np.float32], groups: npt.ArrayLike | None
    ) -> npt.NDArray[np.intp] | None:
        labels = same_rows(features) if groups is None else np.asarray(groups)
        if labels.shape != (len(features),):
            raise DataError(f"Groups must be [{len(features)}], not {list(labels.shape)}", param="groups")
        n_folds = min(self.n_folds, len(np.unique(labels)))
        return grouped_folds(labels, n_folds, self.seed) if n_folds >= 2 else None

    def _record(
        self,
        found: View,
        targets: Targets,
        fold: npt.NDArray[np.intp] | None,
        gain: Gain | None,
        blend: Blend | None,
    ) -> dict[str, Any]:
        strengths = sorted(self.strengths, reverse=True)
        return {
            "n_queries": len(targets.rate),
            "n_outcomes": [int(count) for count in (targets.weight > 0).sum(axis=0)],
            "n_folds": 0 if fold is None else int(fold.max()) + 1,
            "directions": [
                {"strength": strengths[d.strength], "factor": round(d.factor, 4), "z": round(d.z, 2)}
                for d in found.regression.directions
            ],
            "waves": 0 if found.waves is None else found.waves.count,
            "waves_gain": _told(gain),
            "trunk": None if blend is None else {"share": blend.share, "passes": blend.passes},
            "trunk_gain": None if blend is None else _told(blend.gain),
        }


def _told(gain: Gain | None) -> dict[str, float] | None:
    return None if gain is None else {"nats": gain.mean, "standard_error": gain.error}


def same_rows(features: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
    """A number for each distinct row: duplicated questions have equal features."""
    rows = np.ascontiguousarray(features).view(
        np.dtype((np.void, features.dtype.itemsize * features.shape[1]))
    )
    return np.unique(rows.ravel(), return_inverse=True)[1].reshape(-1)
