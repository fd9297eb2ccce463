"""From arrays to a scorer: bank, calibration, lengths and novelty, each on the split that is its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from probes.estimators.bank import ProbeBank
from probes.estimators.solving.coordinates import Coordinates
from probes.scoring.calibration import Calibrator
from probes.scoring.length import LengthHead
from probes.scoring.novelty import Novelty
from probes.scoring.scorer import Scorer
from router.policies.table import Floats, Ints


@dataclass(frozen=True, eq=False)
class Data:
    """Checked arrays of n queries by K candidates; NaN where unknown.

    Attributes
    ----------
    features : ndarray of shape (n, F)
        Activations.
    prompt_tokens : ndarray of shape (n,)
        Lengths in the scout's tokens.
    correct, trials, output_tokens, cost_usd : ndarray of shape (n, K)
        Outcomes.
    groups, datasets : ndarray of str of shape (n,)
        What splits keep together; what is averaged over.
    """

    features: np.ndarray[Any, np.dtype[np.float32]]
    prompt_tokens: Floats
    correct: Floats
    trials: Floats
    output_tokens: Floats
    cost_usd: Floats
    groups: np.ndarray[Any, Any]
    datasets: np.ndarray[Any, Any]

    def __len__(self) -> int:
        return len(self.features)

    def take(self, rows: Ints) -> Data:
        """Some of the queries."""
        return Data(**{name: value[rows] for name, value in vars(self).items()})


@dataclass(frozen=True, eq=False)
class Trained:
    """A scorer, and what it would have said of the queries that it was fitted on.

    Attributes
    ----------
    scorer : Scorer
        Fitted.
    held_out : ndarray of shape (n, K)
        Success of the fitting queries, each by probes that were fitted without it.
    record : dict
        What the bank and the calibrator chose, as JSON knows it.
    """

    scorer: Scorer
    held_out: Floats
    record: dict[str, Any]


def fit_scorer(fitting: Data, calibrating: Data, seed: int) -> Trained:
    """Fit a scorer.

    Parameters
    ----------
    fitting : Data
        Teaches probes, lengths and what is ordinary.
    calibrating : Data
        Other queries, for calibration and for the threshold of novelty.
    seed : int
        Of the folds.
    """
    x = fitting.features
    coordinates = Coordinates.fit(x, seed=seed)
    bank = ProbeBank(seed=seed).fit(
        x, fitting.correct, trials=fitting.trials, groups=fitting.groups, coordinates=coordinates
    )
    calibrator = Calibrator.fit(
        bank.decision_function(calibrating.features),
        calibrating.correct,
        trials=calibrating.trials,
        groups=calibrating.groups,
        seed=seed,
    )
    length = LengthHead(seed=seed).fit(
        x, fitting.output_tokens, groups=fitting.groups, coordinates=coordinates
    )
    novelty = Novelty(seed=seed).fit(x, calibrating.features, coordinates=coordinates)
    scorer = Scorer.assemble(bank, calibrator=calibrator, length=length, novelty=novelty)
    record = {"bank": bank.record_, "calibration": list(calibrator.kinds)}
    return Trained(scorer, calibrator.transform(bank.held_out_), record)
