"""Chance: the baseline that a router has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from router.policies.table import CandidateTable, Choice


@dataclass(frozen=True)
class RandomMix:
    """A random candidate; rankings are drawn without replacement, in proportion to the weights.

    Attributes
    ----------
    weights : mapping of str to float, optional
        Share of each candidate, those left out get none; None: equal shares.
    seed : int, optional
        Makes the choices of one table repeatable.
    """

    weights: Mapping[str, float] | None = None
    seed: int | None = None

    rule: ClassVar[str] = "random"
    knob: ClassVar[str | None] = None

    def choose(self, table: CandidateTable) -> Choice:
        """Choose for every query of the table; Gumbel noise on log weights draws without replacement."""
        shares = [1.0 if self.weights is None else self.weights.get(name, 0.0) for name in table.names]
        order = np.argsort(table.alphabetical)  # noise belongs to names, not to places in the pool
        noise = np.empty(table.success.shape)
        noise[:, order] = np.random.default_rng(self.seed).gumbel(size=table.success.shape)
        with np.errstate(divide="ignore"):
            value = np.log(np.array(shares)) + noise
        return Choice(table, value, lambda _: "drawn at random")
