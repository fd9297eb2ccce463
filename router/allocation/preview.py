"""What a job will come to, before any money is spent: accuracy and cost of every way to run it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from router.allocation.allocation import Allocation, Worth
from router.allocation.multiplier import Ints, best

Z = 1.96
"""Half-width of a 95% interval in standard deviations."""
STEPS = 12
"""Points of the frontier."""
SPREAD = 1.0
"""Standard deviation of an answer's cost over its expectation (as of exponential lengths)."""


@dataclass(frozen=True)
class Point:
    """One way to run a job.

    Attributes
    ----------
    name : str
        What it is.
    accuracy, cost_usd : float
        Expected share of right answers, and expected cost of the job.
    accuracy_interval, cost_interval_usd : (float, float)
        95%: chance of the single lines, and of the questions that the probabilities were calibrated on.
    lines : dict of str to int
        How many lines each candidate answers.
    """

    name: str
    accuracy: float
    accuracy_interval: tuple[float, float]
    cost_usd: float
    cost_interval_usd: tuple[float, float]
    lines: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True)
class Preview:
    """The ways to run a job.

    Attributes
    ----------
    cheapest : Point
        Every line by its cheapest candidate.
    singles : tuple of Point
        Every line by one candidate (where it cannot, by the line's likeliest), in the pool's order.
    best : Point
        The most accurate of them: always the best.
    frontier : tuple of Point
        From the cheapest to the most likely candidates: what each sum of money can buy.
    """

    cheapest: Point
    singles: tuple[Point, ...]
    best: Point
    frontier: tuple[Point, ...]


def preview(worth: Worth, names: tuple[str, ...], calibrated_on: int | None = None) -> Preview:
    """Every way to run a job.

    Parameters
    ----------
    worth : Worth
        n ≥ 1 lines and K candidates.
    names : tuple of str
        The candidates.
    calibrated_on : int, optional
        Questions of the calibration split; None leaves their chance out of the intervals.
    """
    likeliest = best(worth.success, worth.cost_usd, 0.0)[0]

    def point(name: str, index: Ints) -> Point:
        return point_of(name, worth, worth.allocation(index), names, calibrated_on)

    singles = tuple(
        point(f"always {name}", np.where(worth.able[k], k, likeliest)) for k, name in enumerate(names)
    )
    frontier = [point("most likely", likeliest)]
    for multiplier in _multipliers(worth):
        frontier.append(
            point(f"{multiplier:.3g} answers a dollar", best(worth.success, worth.cost_usd, multiplier)[0])
        )
    frontier.append(cheapest := point("always cheapest", worth.cheapest()))
    top = max(singles, key=lambda single: (single.accuracy, -single.cost_usd))
    return Preview(cheapest, singles, top, tuple(frontier[::-1]))


def point_of(
    name: str, worth: Worth, allocation: Allocation, names: tuple[str, ...], calibrated_on: int | None = None
) -> Point:
    """An allocation with its intervals.

    Lines are independent given their probabilities; the level of the probabilities was estimated on
    `calibrated_on` questions, which all lines share.
    """
    index = allocation.index
    n = len(index)
    lines = np.arange(n)
    success, cost = worth.success[index, lines], worth.cost_usd[index, lines]
    mean = allocation.accuracy
    variance = float((success * (1 - success)).sum()) / n**2
    spread = SPREAD**2 * float((cost**2).sum())
    if calibrated_on:
        variance += mean * (1 - mean) / calibrated_on
        spread += SPREAD**2 * float(cost.sum()) ** 2 / calibrated_on
    half, half_usd = Z * variance**0.5, Z * spread**0.5
    counts = np.bincount(index, minlength=len(names))
    return Point(
        name,
        mean,
        (max(0.0, mean - half), min(1.0, mean + half)),
        allocation.cost_usd,
        (max(0.0, allocation.cost_usd - half_usd), allocation.cost_usd + half_usd),
        dict(zip(names, counts.tolist(), strict=True)),
    )


def _multipliers(worth: Worth) -> list[float]:
    """Prices of a dollar between those at which everybody takes the likeliest and the cheapest."""
    rows = np.linspace(0, worth.success.shape[1] - 1, min(2000, worth.success.shape[1])).astype(np.intp)
    sample = worth.take(rows)
    lines = np.arange(len(rows))
    low, high = sample.cheapest(), best(sample.success, sample.cost_usd, 0.0)[0]
    gain = sample.success[high, lines] - sample.success[low, lines]
    extra = sample.cost_usd[high, lines] - sample.cost_usd[low, lines]
    dear = extra > 0
    if not dear.any():
        return []
    worths = gain[dear] / extra[dear]
    if not (worths > 0).any():
        return []
    found = np.quantile(worths[worths > 0], np.linspace(0.02, 0.98, STEPS))
    return [float(multiplier) for multiplier in np.unique(found)]
