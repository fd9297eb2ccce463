"""What scoring yields: the table that a policy reads, and the few numbers that it is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """What the probes say of n queries and K candidates.

    Attributes
    ----------
    success
        Calibrated success probabilities [n, K].
    output_tokens
        Expected output tokens [n, K].
    novelty
        Distances from the training queries [n]; about 1 for an ordinary one.
    novel
        Whether the distance is beyond the threshold [n].
    """

    success: Floats
    output_tokens: Floats
    novelty: Floats
    novel: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Projection:
    """What a scorer needs of n queries' features: a few dozen numbers, computed wherever the features are.

    Attributes
    ----------
    values
        float32 [n, C]: features @ matrix + offset; columns as in `probes.scoring.projector.Projector`.
    energy
        float32 [n]: squared features @ precision.
    """

    values: npt.NDArray[np.float32]
    energy: npt.NDArray[np.float32]
