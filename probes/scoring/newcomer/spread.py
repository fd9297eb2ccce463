"""Which queries a new candidate is asked, so that few answers tell its level."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from probes.errors import UsageError
from probes.estimators.outcomes import as_targets

Floats = npt.NDArray[np.float64]

LEAST_VARIANCE = 0.02
"""Of an outcome that the whole pool agrees on: a newcomer may differ."""


def spread_rows(pool_correct: npt.ArrayLike, n: int, seed: int = 0) -> npt.NDArray[np.intp]:
    """Queries for a new candidate to answer: n of all, spread over how well the pool does on them.

    Systematic sampling along the mean success rate e, denser where an outcome is less certain: in
    proportion to its standard deviation, about sqrt(e (1 - e)) (Neyman allocation: Cochran 1977, sections
    5.5 and 8.1). Fitted to them together with the pool's outcomes (`pool_correct` of `add_candidate`,
    which makes good that the middle is asked more often), a level is more certain than from random ones.

    Parameters
    ----------
    pool_correct
        Success rates [N, K], NaN where missing.
    n
        How many, at most N.
    seed
        For the start and for ties.

    Returns
    -------
    ndarray of int
        Sorted row numbers.
    """
    rate, weight = as_targets(pool_correct, None, len(np.asarray(pool_correct)))
    if not 0 <= n <= len(rate):
        raise UsageError(f"Cannot choose {n} of {len(rate)} queries", param="n")
    rng = np.random.default_rng(seed)
    easiness = (weight * rate).sum(axis=1) / np.maximum(weight.sum(axis=1), 1)
    order = np.lexsort([rng.random(len(rate)), easiness])
    chance = _chances(np.sqrt(easiness * (1 - easiness) + LEAST_VARIANCE)[order], n)
    passed = np.floor(np.cumsum(chance) + rng.random() - 1e-9).astype(np.intp)
    return np.sort(order[np.diff(passed, prepend=0) > 0])[:n]


def _chances(density: Floats, n: int) -> Floats:
    """Chances of being chosen that sum to n, in proportion to a density as far as none exceeds 1."""
    chance = np.zeros(len(density))
    free = np.ones(len(density), dtype=bool)
    while n and free.any():
        chance[free] = (n - (~free).sum()) * density[free] / density[free].sum()
        if (chance[free] <= 1).all():
            break
        free &= chance < 1
        chance[~free] = 1.0
    return chance
