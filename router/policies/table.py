"""What a policy sees and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from math import isfinite
from typing import Any, ClassVar, Protocol

import numpy as np

from probes.errors import UsageError

Floats = np.ndarray[Any, np.dtype[np.float64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]
Ints = np.ndarray[Any, np.dtype[np.intp]]


@dataclass(frozen=True, eq=False)
class CandidateTable:
    """n queries by K candidates.

    Attributes
    ----------
    success : ndarray of shape (n, K)
        Probability of a right answer.
    cost_usd : ndarray of shape (n, K)
        Expected cost in US dollars.
    names : tuple of str
        The K candidates.
    eligible : ndarray of shape (n, K)
        Who can answer; everybody by default.
    latency_s : ndarray of shape (n, K), optional
        Expected seconds to the end of the answer.

    Raises
    ------
    UsageError
        Shapes differ, a query has no eligible candidate, or an eligible one has no finite success or cost.
    """

    success: Floats
    cost_usd: Floats
    names: tuple[str, ...]
    eligible: Bools = field(default_factory=lambda: np.array(True))
    latency_s: Floats | None = None

    def __post_init__(self) -> None:
        """Check the shapes and that every query has somebody to answer it."""
        success, cost = (np.asarray(array, dtype=np.float64) for array in (self.success, self.cost_usd))
        if success is not self.success or cost is not self.cost_usd:
            object.__setattr__(self, "success", success)
            object.__setattr__(self, "cost_usd", cost)
        if type(self.names) is not tuple:
            object.__setattr__(self, "names", tuple(self.names))
        if self.eligible.ndim == 0:
            object.__setattr__(self, "eligible", np.full(success.shape, bool(self.eligible)))
        expected = (len(success), len(self.names))
        for name in ("success", "cost_usd", "eligible", "latency_s"):
            array = getattr(self, name)
            if array is not None and array.shape != expected:
                raise UsageError(f"{name} has shape {array.shape}, not {expected}.", param=name)
        for name, array in (("success", success), ("cost_usd", cost)):
            if isfinite(array.sum()):  # one look at the usual case
                continue
            if not (np.isfinite(array) | ~self.eligible).all():
                raise UsageError(f"{name} is not finite for an eligible candidate.", param=name)
        if not (self.eligible.all() or self.eligible.any(axis=1).all()) or not self.names:
            raise UsageError("A query has no eligible candidate.", param="eligible")

    def __len__(self) -> int:
        return len(self.success)

    @cached_property
    def alphabetical(self) -> Floats:
        """Rank of each candidate's name: the last tie-break, so that the order of the pool never matters."""
        return _alphabetical(self.names)

    def restrict(self, allowed: Bools) -> CandidateTable:
        """The table with fewer eligible candidates."""
        return replace(self, eligible=self.eligible & allowed)


@lru_cache(maxsize=64)
def _alphabetical(names: tuple[str, ...]) -> Floats:
    ranks = np.argsort(np.argsort(np.array(names))).astype(np.float64)
    ranks.flags.writeable = False
    return ranks


class _Reasons(Sequence[str]):
    """Reasons written only when somebody reads them."""

    def __init__(self, n: int, explain: Callable[[int], str]) -> None:
        self._n = n
        self._explain = explain

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return [self._explain(j) for j in range(*i.indices(self._n))]
        if not -self._n <= i < self._n:
            raise IndexError(i)
        return self._explain(i % self._n)


@dataclass(frozen=True, eq=False)
class Choice:
    """A policy's answer for n queries: eligible candidates in lexicographic order of preference.

    First comes the lower `tier`, then the higher `value`, then the lower cost, then the name.

    Attributes
    ----------
    table : CandidateTable
        What was chosen from.
    value : ndarray of shape (n, K)
        Higher is better within a tier.
    explain : callable
        Position of a query → reason of its choice.
    tier : ndarray of shape (n, K), optional
        Lower is better, whatever the value.
    propensity : ndarray of shape (n, K), optional
        Probability with which each candidate is chosen, where the policy draws.
    """

    table: CandidateTable
    value: Floats
    explain: Callable[[int], str]
    tier: Floats | None = None
    propensity: Floats | None = None

    @cached_property
    def index(self) -> Ints:
        """The chosen candidate of each query, shape (n,)."""
        if "ranking" in self.__dict__:  # sorted already
            return self.ranking[:, 0]
        best = self.table.eligible
        for key in self._keys():
            masked = np.where(best, key, np.inf)
            best = best & (masked == masked.min(axis=1, keepdims=True))
        return np.asarray(best.argmax(axis=1))

    @cached_property
    def ranking(self) -> Ints:
        """All candidates of each query, best first, the ineligible ones last, shape (n, K)."""
        shape, size = self.table.success.shape, self.table.success.size
        keys = [
            key.reshape(shape) if key.size == size else np.broadcast_to(key, shape) for key in self._keys()
        ]
        if not self.table.eligible.all():
            keys.insert(0, (~self.table.eligible).astype(np.float64))
        return np.lexsort(keys[::-1], axis=-1)

    @property
    def reason(self) -> Sequence[str]:
        """Why, for each query; written on reading."""
        return _Reasons(len(self.table), self.explain)

    def _keys(self) -> list[Floats]:
        keys = [-self.value, self.table.cost_usd, self.table.alphabetical]
        return keys if self.tier is None else [self.tier, *keys]


class Policy(Protocol):
    """A rule with its numbers.

    Attributes
    ----------
    rule : str
        Name in pool files and in ``auto:RULE``.
    knob : str or None
        The field that trades cost for quality; `router.fit.knob` sets it.
    """

    rule: ClassVar[str]
    knob: ClassVar[str | None]

    def choose(self, table: CandidateTable) -> Choice:
        """Choose for every query of the table."""
        ...
