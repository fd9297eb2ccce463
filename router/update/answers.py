"""What is known of a newcomer: graded answers of one candidate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from router.policies.table import Floats
from router.router import Router


@dataclass(frozen=True, eq=False)
class Answers:
    """Graded answers of one candidate to n queries.

    Attributes
    ----------
    features : ndarray of shape (n, F)
        The queries' activations.
    correct, trials : ndarray of shape (n,)
        Share of right draws in [0, 1], and draws behind it.
    output_tokens : ndarray of shape (n,)
        NaN where unknown.
    pool_correct : ndarray of shape (n, K)
        What the router's candidates, in its order, did on the same queries; NaN where unknown.
    """

    features: np.ndarray[Any, np.dtype[np.float32]]
    correct: Floats
    trials: Floats
    output_tokens: Floats
    pool_correct: Floats

    def __len__(self) -> int:
        return len(self.features)

    @classmethod
    def none(cls, router: Router) -> Answers:
        """No answer at all."""
        scorer = router.scorer
        empty, shape = np.empty(0), (0, scorer.n_candidates)
        return cls(np.empty((0, scorer.n_features), np.float32), empty, empty, empty, np.empty(shape))

    @property
    def n_graded(self) -> int:
        """Answers that have a grade."""
        return int(np.isfinite(self.correct).sum())

    def mean_length(self, otherwise: float) -> float:
        """Mean tokens of the answers whose length is known; `otherwise` where none is."""
        told = self.output_tokens[np.isfinite(self.output_tokens)]
        return float(told.mean()) if len(told) else otherwise
