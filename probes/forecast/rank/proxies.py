"""Eighty proxies of a model's success: ten token statistics, averaged in eight ways over a solution.

Source: arXiv 2605.18607. It leaves open where frequencies come from and how wide the Gaussian kernel is:
here frequencies are of the experts' solutions themselves, smoothed by one, and the kernel stands at the
solution's own mean with its own spread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

STATISTICS = (
    "nll",
    "top1",
    "top2",
    "top3",
    "top5",
    "entropy",
    "rank",
    "reciprocal_rank",
    "margin",
    "wrong_confidence",
)
WEIGHTINGS = (
    "uniform",
    "probability",
    "surprise",
    "entropy",
    "inverse_entropy",
    "frequency",
    "inverse_frequency",
    "gaussian",
)
PROXIES = tuple(f"{statistic}/{weighting}" for statistic in STATISTICS for weighting in WEIGHTINGS)
"""Names of the eighty, statistics slowest."""

FIRMNESS = 1e-3
"""Added to an entropy before it is inverted."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A model's token statistics on one solution.

    Attributes
    ----------
    table
        [T, 10]: statistics of the tokens, in the order of `STATISTICS`; entropy may be NaN.
    frequency
        Relative frequency of each token (or of the word that it belongs to) in the solutions [T].
    length
        Bytes of each token [T].
    """

    table: Floats
    frequency: Floats
    length: Floats

    def by_bytes(self) -> Trajectory:
        """The same with each byte as a unit: comparable between tokenisers.

        A token's statistics count once for each of its bytes, its nats are shared among them.
        """
        size = np.maximum(self.length, 1).astype(int)
        table = self.table.copy()
        table[:, 0] /= size
        return Trajectory(
            np.repeat(table, size, axis=0), np.repeat(self.frequency, size), np.ones(int(size.sum()))
        )


def proxies(trajectory: Trajectory) -> Floats:
    """The eighty proxies of one solution, as `PROXIES` orders them; NaN where they need a missing entropy."""
    table = trajectory.table
    nll, entropy = table[:, 0], table[:, STATISTICS.index("entropy")]
    probability = np.exp(-nll)
    spread = max(float(nll.std()), 1e-6)
    weights = np.stack(
        [
            np.ones_like(nll),
            probability,
            1 - probability,
            entropy,
            1 / (entropy + FIRMNESS),
            trajectory.frequency,
            1 / trajectory.frequency,
            np.exp(-(((nll - nll.mean()) / spread) ** 2) / 2),
        ]
    )
    total = weights.sum(axis=1, keepdims=True)
    shares = np.where(
        total > 1e-12, weights / np.maximum(total, 1e-12), 1 / len(nll)
    )  # a sure model: uniform
    shares[np.isnan(total[:, 0])] = np.nan
    return np.asarray((shares @ table).T.reshape(-1))


def word_frequencies(texts: Iterable[str]) -> dict[str, float]:
    """Relative frequency of every word (between white space), smoothed by one; see `smoothed`."""
    return smoothed(Counter(word for text in texts for word in text.split()))


def smoothed(counts: Mapping[str, int]) -> dict[str, float]:
    """Add-one estimates; the key ``""`` holds the unseen."""
    total = sum(counts.values()) + len(counts) + 1
    return {"": 1 / total, **{name: (count + 1) / total for name, count in counts.items()}}


def from_prompt_logprobs(entries: Sequence[Mapping[str, Mapping[str, float]] | None]) -> Floats:
    """Statistics [T, 10] of vLLM's ``prompt_logprobs`` (at least 1) for T tokens of a prompt.

    Each entry holds the likeliest token and the prompt's own, with ``logprob`` and ``rank``. Entropy needs
    the whole vocabulary and is NaN: nine statistics and six weightings remain exact.
    """
    rows = []
    for entry in entries:
        if not entry:
            continue  # the first token is predicted by nothing
        options = list(entry.values())
        own = max(options, key=lambda option: option["rank"])
        top = float(np.exp(max(option["logprob"] for option in options)))
        nll, rank = -float(own["logprob"]), float(own["rank"])
        first = rank == 1
        rows.append(
            [
                nll,
                *(float(rank <= k) for k in (1, 2, 3, 5)),
                np.nan,
                rank,
                1 / rank,
                0.0 if first else top - float(np.exp(-nll)),
                0.0 if first else top,
            ]
        )
    return np.array(rows, dtype=np.float64).reshape(-1, len(STATISTICS))
