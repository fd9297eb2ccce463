"""An expert's solution of a question, and what a model made of several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from probes.encoders.conversation import Conversation
from probes.forecast.rank.proxies import Floats

LAST_TOKENS = 1000
"""Tokens of a solution that are scored, from its end (arXiv 2605.18607)."""


@dataclass(frozen=True)
class Solution:
    """An expert's solution of a question.

    Attributes
    ----------
    conversation
        The question.
    text
        The solution, as it follows the generation prompt.
    task
        What it counts for.
    template_kwargs
        For the chat template, e.g. ``{"enable_thinking": True}``.
    """

    conversation: Conversation
    text: str
    task: str = ""
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Scored:
    """Proxies of one model on n solutions.

    Attributes
    ----------
    values
        [n, 80]: NaN rows for solutions that do not fit into its context.
    tasks
        Task of each solution.
    """

    values: Floats
    tasks: tuple[str, ...]

    def by_task(self) -> dict[str, Floats]:
        """Mean proxies [80] of each task that has any."""
        kept = ~np.isnan(self.values[:, 0])
        names = np.array(self.tasks)
        return {
            name: self.values[kept & (names == name)].mean(axis=0)
            for name in dict.fromkeys(self.tasks)
            if (kept & (names == name)).any()
        }
