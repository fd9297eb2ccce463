"""What a policy would have earned, from the log of another: replay, inverse propensity, doubly robust.

Only a log whose choices were drawn with known probabilities can answer that
(`router.policies.online.exploration`).
Sources: Li et al., arXiv 1003.5956 (replay); Horvitz & Thompson 1952, Swaminathan & Joachims, NIPS 2015
(self-normalised); Dudík, Langford & Li, arXiv 1103.4601 (doubly robust).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from eval.tables import Floats
from probes.errors import DataError

Ints = np.ndarray[Any, np.dtype[np.intp]]


@dataclass(frozen=True, eq=False)
class Log:
    """n logged decisions among K candidates.

    Attributes
    ----------
    chosen : ndarray of int of shape (n,)
        Position of the candidate that answered.
    propensity : ndarray of shape (n,)
        Probability that it was chosen, in (0, 1].
    reward : ndarray of shape (n,)
        What came of it: right or wrong, or minus its cost.
    predicted : ndarray of shape (n, K), optional
        What a model expected of every candidate: success, or minus the expected cost. Must not have been
        fitted on this log.

    Raises
    ------
    DataError
        Shapes differ, or a propensity is no probability above zero.
    """

    chosen: Ints
    propensity: Floats
    reward: Floats
    predicted: Floats | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be weighed."""
        n = len(self.chosen)
        if n == 0 or self.propensity.shape != (n,) or self.reward.shape != (n,):
            shapes = (
                f"chosen {self.chosen.shape}, propensity {self.propensity.shape}, reward {self.reward.shape}"
            )
            raise DataError(f"A log needs three columns of one length above 0, not {shapes}.", param="log")
        bad = ~((self.propensity > 0) & (self.propensity <= 1))
        if bad.any():
            i = int(bad.argmax())
            raise DataError(
                f"Decision {i}: its propensity is {self.propensity[i]}, not in (0, 1].",
                param="propensity",
                hint="Log with exploration: a policy with explore: 0.02.",
            )
        if not np.isfinite(self.reward).all():
            raise DataError("A reward is not finite.", param="reward", hint="Leave out ungraded decisions.")


@dataclass(frozen=True)
class Estimate:
    """A policy's mean reward, its 95% interval, and how many decisions it rests on.

    Attributes
    ----------
    value, low, high : float
        Mean and interval.
    decisions : float
        Effective number: ``(Σw)² / Σw²`` of the weights; a small one warns of a wide or wrong interval.
    """

    value: float
    low: float
    high: float
    decisions: float


def replay(log: Log, target: Floats) -> Estimate:
    """Mean over the decisions in which the target agrees with the log.

    Right only where the log chose uniformly, whatever the query; otherwise use `doubly_robust`.

    Parameters
    ----------
    log : Log
        Of any policy.
    target : ndarray of shape (n, K)
        Probability that the policy in question chooses each candidate.
    """
    return _normalised(_agreement(log, target), log.reward)


def ips(log: Log, target: Floats) -> Estimate:
    """Self-normalised inverse propensity: agreement weighed by one over its probability."""
    return _normalised(_agreement(log, target) / log.propensity, log.reward)


def doubly_robust(log: Log, target: Floats) -> Estimate:
    """The model's forecast, corrected by what really came where the log agrees.

    Unbiased if the propensities are right, whatever the forecasts; its interval is the narrower, the better
    they are.

    Raises
    ------
    DataError
        The log has no forecasts.
    """
    if log.predicted is None or log.predicted.shape != target.shape:
        raise DataError("Doubly robust needs a forecast for every candidate.", param="predicted")
    weights = _agreement(log, target) / log.propensity
    here = log.predicted[np.arange(len(log.chosen)), log.chosen]
    values = (target * log.predicted).sum(axis=1) + weights * (log.reward - here)
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.inf
    return _estimate(float(values.mean()), float(error), weights)


def certain(index: Ints, n_candidates: int) -> Floats:
    """The target of a policy that draws nothing: one for its choice, shape (n, K)."""
    shares: Floats = (np.arange(n_candidates) == np.asarray(index)[:, None]).astype(np.float64)
    return shares


def _agreement(log: Log, target: Floats) -> Floats:
    if target.ndim != 2 or len(target) != len(log.chosen) or not np.allclose(target.sum(axis=1), 1.0):
        raise DataError(
            f"The target must be (n, K) with rows that sum to 1, not {target.shape}.", param="target"
        )
    agreement: Floats = target[np.arange(len(log.chosen)), log.chosen]
    return agreement


def _normalised(weights: Floats, reward: Floats) -> Estimate:
    total = float(weights.sum())
    if total == 0:
        return Estimate(float("nan"), float("nan"), float("nan"), 0.0)
    value = float(weights @ reward) / total
    # The delta method for a ratio of means.
    error = float(np.sqrt((weights**2 * (reward - value) ** 2).sum())) / total
    return _estimate(value, error, weights)


def _estimate(value: float, error: float, weights: Floats) -> Estimate:
    squares = float((weights**2).sum())
    wide = float(norm.ppf(0.975)) * error
    effective = float(weights.sum()) ** 2 / squares if squares else 0.0
    return Estimate(value, value - wide, value + wide, effective)
