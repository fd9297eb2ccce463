"""A new candidate joins a fitted router, or a new checkpoint takes an old one's place: few labels, or none.

What the probes know of difficulty holds for candidates that they have never seen; only a level and slopes
are new (`probes.scoring.newcomer.onboarding`). The policies' knobs stay as they were set for the old pool.
"""

from __future__ import annotations

import numpy as np

from probes.errors import DataError, UsageError
from router.configuration.pool import Pool
from router.router import Router
from router.update.answers import Answers
from router.update.candidate import add_candidate
from router.update.checkpoint import replace_checkpoint
from router.update.levels import LEAST_RATE
from router.update.report import NewcomerReport


def add(
    router: Router,
    name: str,
    answers: Answers | None = None,
    *,
    pool: Pool | None = None,
    level: float | None = None,
    seed: int = 0,
) -> tuple[Router, NewcomerReport]:
    """A router with one candidate more, or with a new checkpoint of a candidate that it has.

    Parameters
    ----------
    router : Router
        As it was fitted; it is not changed.
    name : str
        The candidate. Where the router has been fitted for it, this is a new checkpoint of it.
    answers : Answers, optional
        Graded answers, if there are any.
    pool : Pool, optional
        Where the new candidate is described; its scout must be the router's.
    level : float, optional
        A forecast of its success rate, in (0, 1).
    seed : int
        Of bootstraps.

    Raises
    ------
    UsageError
        A new candidate that no pool describes, a level out of range, or nothing is known of a checkpoint.
    DataError
        Answers that are malformed.
    """
    if level is not None and not LEAST_RATE <= level <= 1 - LEAST_RATE:
        raise UsageError(
            f"A level must lie between {LEAST_RATE} and {1 - LEAST_RATE}, not {level}.", param="level"
        )
    known = answers if answers is not None else Answers.none(router)
    if len(known) and not np.isfinite(known.correct).any():
        raise DataError(f"There is no graded answer of {name!r}.", param="correct")
    if name in router.fitted.candidates:
        return replace_checkpoint(router, name, known, level, pool, seed)
    return add_candidate(router, name, known, level, pool, seed)
