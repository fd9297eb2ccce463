"""Lines whose first answer looks wrong: who may be asked once more, and what that would cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from router.allocation.allocation import Worth
from router.allocation.multiplier import Ints


@dataclass(frozen=True)
class SecondLook:
    """The most that asking again can come to.

    Attributes
    ----------
    lines : int
        Lines for which there is a likelier candidate than their first one.
    cost_usd : float
        Expected cost of asking all of them once more, each of its likeliest candidate; on top of the first
        answers.
    """

    lines: int
    cost_usd: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


def reopened(worth: Worth, first: Ints) -> Worth:
    """What lines are worth once some of their first answers are in doubt.

    An answer in doubt counts for nothing and costs nothing more; who is no likelier than the one that gave
    it is not asked.

    Parameters
    ----------
    worth : Worth
        n lines.
    first : ndarray of int of shape (n,)
        Who has given the answer in doubt; −1 where nobody was asked yet.
    """
    rows = np.flatnonzero(first >= 0)
    if not len(rows):
        return worth
    success, cost = worth.success.copy(), worth.cost_usd.copy()
    likelier = success[:, rows] > success[first[rows], rows]
    success[:, rows] = np.where(likelier, success[:, rows], -np.inf)
    cost[:, rows] = np.where(likelier, cost[:, rows], 0.0)
    success[first[rows], rows] = 0.0
    return Worth(success, cost)


def second_look(worth: Worth, first: Ints) -> SecondLook:
    """The cost if every line's answer were in doubt.

    Parameters
    ----------
    worth : Worth
        n lines.
    first : ndarray of int of shape (n,)
        Who is asked first.
    """
    again = reopened(worth, first)
    index = likeliest(again)
    asked = np.flatnonzero(index != first)
    return SecondLook(len(asked), float(again.cost_usd[index[asked], asked].sum()))


def likeliest(worth: Worth) -> Ints:
    """Each line's likeliest candidate."""
    return np.asarray(worth.success.argmax(axis=0))
