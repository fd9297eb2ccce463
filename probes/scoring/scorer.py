"""What an artefact holds and a gateway runs: features in, one matrix product, all that a policy needs out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from probes.errors import ArtefactError, DataError
from probes.estimators.linear import LinearProbes
from probes.estimators.outcomes import as_targets
from probes.scoring.calibration import Calibrator, Curve
from probes.scoring.length import LengthHead, Lengths
from probes.scoring.newcomer.canary import Canary
from probes.scoring.newcomer.onboarding import add_candidate, refit_line
from probes.scoring.novelty import Novelty
from probes.scoring.parts import read_parts, write_parts
from probes.scoring.projector import Projector
from probes.scoring.scores import Projection, ScoreTable

Floats = npt.NDArray[np.float64]

ROWS_AT_ONCE = 256


class Bank(Protocol):
    """Anything that holds fitted probes, e.g. a `ProbeBank`."""

    probes_: LinearProbes


@dataclass(frozen=True, eq=False)
class Scorer:
    """Bank, calibration, length head and novelty statistics of a pool.

    Attributes
    ----------
    probes
        The bank.
    calibrator
        Of its logits.
    length
        Expected output tokens.
    novelty
        Distance from the training queries.
    """

    probes: LinearProbes
    calibrator: Calibrator
    length: LengthHead
    novelty: Novelty
    _projector: Projector = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Fold all that is linear into one matrix.

        Raises
        ------
        ArtefactError
            If the parts are of different widths or candidates.
        """
        widths = {self.probes.n_features, len(self.length.weights), len(self.novelty.precision)}
        counts = {self.probes.n_candidates, len(self.calibrator.curves), len(self.length.offsets)}
        if len(widths) > 1 or len(counts) > 1:
            raise ArtefactError(
                f"The scorer's parts do not fit: widths {sorted(widths)}, candidates {sorted(counts)}",
                param="probes",
            )
        object.__setattr__(self, "_projector", Projector.of(self.probes, self.length, self.novelty))

    @classmethod
    def assemble(cls, bank: Bank, *, calibrator: Calibrator, length: LengthHead, novelty: Novelty) -> Scorer:
        """A scorer of fitted parts."""
        return cls(bank.probes_, calibrator, length, novelty)

    @property
    def n_features(self) -> int:
        """Width of the features."""
        return self.probes.n_features

    @property
    def n_candidates(self) -> int:
        """Number of candidates."""
        return self.probes.n_candidates

    def score(self, features: npt.NDArray[np.floating]) -> ScoreTable:
        """Score queries.

        Parameters
        ----------
        features
            [n, F] or, for one query, [F].

        Raises
        ------
        DataError
            If the width is wrong or an activation is not finite.
        """
        matrix = np.asarray(features, dtype=np.float32)
        matrix = matrix[None] if matrix.ndim == 1 else matrix
        if matrix.ndim != 2 or matrix.shape[1] != self.n_features:
            raise DataError(
                f"Features must be [queries, {self.n_features}], not {list(matrix.shape)}",
                param="features",
                hint="Read the same layers, positions and kind as the probes were fitted on.",
            )
        if len(matrix) <= ROWS_AT_ONCE:
            return self._score(matrix)
        starts = range(0, len(matrix), ROWS_AT_ONCE)
        parts = [self._score(matrix[start : start + ROWS_AT_ONCE]) for start in starts]
        names = ("success", "output_tokens", "novelty", "novel")
        return ScoreTable(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def add_candidate(
        self,
        features: npt.ArrayLike,
        correct: npt.ArrayLike,
        *,
        trials: npt.ArrayLike | None = None,
        output_tokens: npt.ArrayLike | None = None,
        pool_correct: npt.ArrayLike | None = None,
        expected_rate: float | None = None,
        seed: int = 0,
    ) -> tuple[Scorer, Canary]:
        """A scorer with one candidate more, from few labels or none; see `probes.scoring.newcomer`.

        Parameters
        ----------
        features, correct, trials
            Of the queries that it answered: [n, F], success rates [n], draws [n]; n may be 0.
        output_tokens
            Lengths of its answers [n], NaN where unknown; None takes the pool's typical length.
        pool_correct
            Success rates of the old candidates on the same queries [n, K]; they make its level more certain.
        expected_rate
            A forecast of its mean success rate.
        seed
            For the canary's bootstrap.
        """
        grown = add_candidate(
            self.probes,
            features,
            correct,
            trials=trials,
            pool_correct=pool_correct,
            expected_rate=expected_rate,
            seed=seed,
        )
        length = self.length.with_typical_candidate()
        if output_tokens is not None and len(np.asarray(output_tokens)):
            length = length.scaled(self.n_candidates, output_tokens, features)
        calibrator = self.calibrator.with_curve(Curve("identity"))  # the level was fitted to labels already
        return Scorer(grown.probes, calibrator, length, self.novelty), grown.canary

    def recalibrate(
        self,
        features: npt.ArrayLike,
        correct: npt.ArrayLike,
        *,
        trials: npt.ArrayLike | None = None,
        output_tokens: npt.ArrayLike | None = None,
        seed: int = 0,
    ) -> tuple[Scorer, tuple[Canary, ...]]:
        """A scorer whose levels and slopes fit new outcomes: feedback, or a new checkpoint of a candidate.

        Parameters
        ----------
        features, correct, trials
            [n, F], success rates [n, K] (NaN where missing) and draws behind each; a candidate without any
            outcome stays as it is.
        output_tokens
            Lengths of answers [n, K], NaN where unknown.
        seed
            For the canaries' bootstraps.

        Returns
        -------
        Scorer, tuple of Canary
            One canary for each candidate: whether its old ranking still holds.
        """
        logit = self.probes.decision_function(features)
        success = self.calibrator.transform(logit)
        rate, weight = as_targets(correct, trials, len(success))
        calibrator, length, canaries = self.calibrator, self.length, []
        for m in range(self.n_candidates):
            old = np.log(success[:, m] / (1 - success[:, m]))
            found = refit_line(old, rate[:, m], weight[:, m], seed=seed)
            canaries.append(found.canary)
            if weight[:, m].any():
                calibrator = calibrator.adjusted(m, found.level, found.slope)
            if output_tokens is not None:
                length = length.scaled(m, np.asarray(output_tokens)[:, m], features)
        return Scorer(self.probes, calibrator, length, self.novelty), tuple(canaries)

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """What `project` multiplies with: matrix [F, C], offset [C] and precision [F]."""
        return self._projector.weights()

    def project(self, features: npt.NDArray[np.float32]) -> Projection:
        """The only part of scoring that sees the features [n, F]; an engine may do it in our place."""
        return self._projector.project(features)

    def finish(self, projection: Projection) -> ScoreTable:
        """Scores of queries that were projected with these very weights.

        Raises
        ------
        DataError
            If the width is another one, or a number is not finite.
        """
        found = projection.values
        if found.ndim != 2 or found.shape[1] != len(self._projector.offset):
            raise DataError(
                f"Projections must be [queries, {len(self._projector.offset)}], not {list(found.shape)}",
                param="projection",
            )
        energy = projection.energy + found[:, -1]
        if not np.isfinite(energy).all():
            row = int(np.argmin(np.isfinite(energy)))
            raise DataError(f"Activations of query {row} are not finite", param="features")
        k = self.n_candidates
        distance = self.novelty.combine(found[:, 2 * k : 2 * k + len(self.novelty.offsets)], energy)
        logit = found[:, :k]
        for units, columns, to_logits in self._projector.placed:
            logit = logit + units.at(found[:, columns]) @ to_logits
        return ScoreTable(
            self.calibrator.transform(logit),
            self.length.expected(found[:, k : 2 * k]),
            distance,
            distance > self.novelty.threshold,
        )

    def lengths(self, features: npt.ArrayLike) -> Lengths:
        """Expected output tokens with their interval, of features [n, F]."""
        return self.length.predict(features)

    def save(self, path: str | Path) -> None:
        """Write one safetensors file: arrays, and JSON in its header. Complete or not at all."""
        parts: dict[str, Mapping[str, Floats]] = {
            "probes": self.probes.to_arrays(),
            "calibration": self.calibrator.to_arrays(),
            "length": self.length.to_arrays(),
            "novelty": self.novelty.to_arrays(),
        }
        meta = {
            "calibration_kinds": list(self.calibrator.kinds),
            "length_coverage": self.length.coverage,
            "false_alarm_rate": self.novelty.false_alarm_rate,
        }
        write_parts(path, parts, meta)

    @classmethod
    def load(cls, path: str | Path) -> Scorer:
        """Read what `save` wrote.

        Raises
        ------
        ArtefactError
            If the file is missing, damaged, or of another format or version.
        """
        parts, meta = read_parts(Path(path))
        try:
            return cls(
                LinearProbes.from_arrays(parts["probes"]),
                Calibrator.from_arrays(parts["calibration"], meta["calibration_kinds"]),
                LengthHead.from_arrays(parts["length"], meta["length_coverage"]),
                Novelty.from_arrays(parts["novelty"], meta["false_alarm_rate"]),
            )
        except (KeyError, TypeError, ValueError, IndexError) as exc:
            raise ArtefactError(f"{path} is damaged: {exc!r}", param="probes") from exc

    def _score(self, features: npt.NDArray[np.float32]) -> ScoreTable:
        return self.finish(self.project(features))
