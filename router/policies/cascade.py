"""Ask the cheap candidate first, look at its answer, and pay for a second one only where it is in doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from probes.errors import UsageError
from router.policies.bar import Bar
from router.policies.table import CandidateTable, Choice, Floats, Ints

if TYPE_CHECKING:
    from router.fit.knob import Outcome


@dataclass(frozen=True)
class Step:
    """What to do with an answer.

    Attributes
    ----------
    candidate : str or None
        Who is asked next; None: the answer is kept.
    reason : str
        Why, in one clause.
    """

    candidate: str | None
    reason: str


@dataclass(frozen=True)
class Judged:
    """A cascade on n queries: share of right answers, US dollars and number of calls, shape (n,) each."""

    correct: Floats
    cost_usd: Floats
    calls: Ints


@dataclass(frozen=True)
class Cascade:
    """Candidates in order of cost; an answer is kept where its own confidence reaches `accept`.

    Unlike every other policy it decides *after* an answer, so each call made is paid: with two candidates the
    expected cost is ``c_1 + P(confidence < accept) · c_2``. It beats routing before an answer only where an
    answer's confidence tells much more than the prompt, and it doubles the wait of what is escalated.
    What confidence may be: `router.policies.bar.Bar`. Source: FrugalGPT, arXiv 2305.05176; cascade decided
    after an answer, as in arXiv 2605.18796.

    Attributes
    ----------
    ladder : tuple of str
        At least two candidates, asked in this order.
    accept : float
        Least confidence, in [0, 1], at which an answer is kept; the last candidate's always is.
    """

    ladder: tuple[str, ...]
    accept: float = 0.5

    rule: ClassVar[str] = "cascade"
    knob: ClassVar[str | None] = "accept"

    def __post_init__(self) -> None:
        """Refuse a ladder of one, repeated names and a bar out of range."""
        object.__setattr__(self, "ladder", tuple(self.ladder))
        if len(self.ladder) < 2 or len(set(self.ladder)) != len(self.ladder):
            raise UsageError(f"A cascade needs two or more candidates, not {self.ladder}.", param="ladder")
        Bar(self.accept)

    @property
    def first(self) -> str:
        """Who is asked first."""
        return self.ladder[0]

    def choose(self, table: CandidateTable) -> Choice:
        """The order to ask in: the ladder first, then the others by their success.

        Raises
        ------
        UsageError
            Somebody on the ladder is not in the table.
        """
        self._check_known(table.names)
        place = {name: k for k, name in enumerate(self.ladder)}
        tier = np.array([place.get(name, len(place)) for name in table.names], dtype=np.float64)
        on_ladder = [name in place for name in table.names]

        def explain(i: int) -> str:
            able = [name for name in self.ladder if table.eligible[i, table.names.index(name)]]
            if len(able) > 1:
                return f"{able[0]} first; then {able[1]}, unless its confidence reaches {self.accept:.2f}"
            if able:
                return f"only {able[0]} of the cascade can answer"
            return "nobody of the cascade can answer; the most likely of the others"

        return Choice(table, np.where(on_ladder, 0.0, table.success), explain, tier=tier)

    def able(self, ranking: Sequence[str]) -> Cascade | None:
        """The same with those only who can answer; None where that is nobody, or one."""
        ladder = tuple(name for name in self.ladder if name in ranking)
        return Cascade(ladder, self.accept) if len(ladder) > 1 else None

    def _check_known(self, names: Sequence[str]) -> None:
        if unknown := [name for name in self.ladder if name not in names]:
            raise UsageError(f"There is no candidate {unknown[0]!r}.", param="ladder")

    def after(self, candidate: str, confidence: float | None) -> Step:
        """What to do when a candidate has answered; the gateway asks this after every answer.

        Raises
        ------
        UsageError
            The candidate is not on the ladder, or the confidence is no probability.
        """
        if candidate not in self.ladder:
            raise UsageError(f"{candidate!r} is not on the ladder {self.ladder}.", param="candidate")
        verdict = Bar(self.accept).judge(confidence)
        if verdict.kept:
            return Step(None, verdict.reason)
        place = self.ladder.index(candidate) + 1
        if place == len(self.ladder):
            return Step(None, f"{verdict.reason}; nobody is left to ask")
        return Step(self.ladder[place], verdict.reason)

    def judge(self, names: Sequence[str], confidence: Floats, outcome: Outcome) -> Judged:
        """Replay on graded answers; every call made is paid.

        Parameters
        ----------
        names : sequence of str
            The K candidates of the arrays.
        confidence : ndarray of shape (n, K)
            Confidence of each candidate's answer to each query.
        outcome : Outcome
            What happened.
        """
        self._check_known(names)
        columns = [list(names).index(name) for name in self.ladder]
        kept = confidence[:, columns] >= self.accept
        kept[:, -1] = True
        last = kept.argmax(axis=1)
        asked = np.arange(len(columns)) <= last[:, None]
        rows = np.arange(len(confidence))
        cost: Floats = (outcome.cost_usd[:, columns] * asked).sum(axis=1)
        return Judged(outcome.correct[:, columns][rows, last], cost, (last + 1).astype(np.intp))
