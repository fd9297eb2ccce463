"""All that is linear in the features, as one matrix: the only part of scoring that sees them.

Where the probes have waves or a trunk, the product yields the coordinates that these read too (as a rule
novelty's, which are there anyway, and some more): an engine needs to know nothing of what is done with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from probes.estimators.linear import LinearProbes, Units
from probes.scoring.length import LengthHead
from probes.scoring.novelty import Novelty
from probes.scoring.scores import Projection

Floats32 = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


class Placed(NamedTuple):
    """Units, the columns that they read, and what each adds to every logit [M, K]."""

    units: Units
    columns: slice
    to_logits: Floats32


@dataclass(frozen=True, eq=False)
class Projector:
    """Standardiser, probes, length head and leading coordinates, folded.

    Attributes
    ----------
    matrix, offset
        [F, C] and [C]; columns: K logits, K logarithms of lengths, novelty's leading coordinates, those that
        units read and novelty does not, the energy's linear part.
    precision
        Of the energy [F].
    placed
        What is added to the logits, not being linear.
    """

    matrix: Floats32
    offset: Floats32
    precision: Floats32
    placed: tuple[Placed, ...]

    @classmethod
    def of(cls, probes: LinearProbes, length: LengthHead, novelty: Novelty) -> Projector:
        """Fold parts of the same width and the same candidates."""
        weights, level = probes.folded()
        placed, leading, leading_offsets = _placed(probes, novelty)
        columns = [weights, length.weights, leading, -2 * novelty.pull[:, None]]
        offsets = [level, length.offsets, leading_offsets, np.zeros(1)]
        return cls(
            # Column by column in memory, which is a quarter faster for a single query.
            np.asfortranarray(np.concatenate(columns, axis=1), np.float32),
            np.concatenate(offsets).astype(np.float32),
            novelty.precision.astype(np.float32),
            placed,
        )

    def project(self, features: Floats32) -> Projection:
        """Of features [n, F]; an engine may do it in our place."""
        values = features @ self.matrix
        values += self.offset
        return Projection(values, np.asarray((features * features) @ self.precision, dtype=np.float32))

    def weights(self) -> dict[str, Floats32]:
        """What `project` multiplies with, by name; row by row in memory, as files hold arrays."""
        matrix = np.ascontiguousarray(self.matrix)
        return {"matrix": matrix, "offset": self.offset, "precision": self.precision}


def _placed(probes: LinearProbes, novelty: Novelty) -> tuple[tuple[Placed, ...], Floats, Floats]:
    """Units with their columns, and the coordinates [F, Q] and [Q] that they and novelty read.

    Coordinates that begin as those that are there already stand at their place and add only what goes on.
    """
    first = 2 * probes.n_candidates
    leading, offsets = novelty.directions, novelty.offsets
    found = []
    for units, to_scores in probes.added:
        shared = min(leading.shape[1], units.directions.shape[1])
        same = np.allclose(units.directions[:, :shared], leading[:, :shared], rtol=1e-6, atol=0)
        start, more = (0, shared) if same else (leading.shape[1], 0)
        leading = np.concatenate([leading, units.directions[:, more:]], axis=1)
        offsets = np.concatenate([offsets, units.offsets[more:]])
        columns = slice(first + start, first + start + units.directions.shape[1])
        to_logits = np.asarray(to_scores @ probes.loadings, dtype=np.float32)
        found.append(Placed(units, columns, to_logits))
    return tuple(found), leading, offsets
