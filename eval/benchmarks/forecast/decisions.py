"""Which of several training mixtures is the better one, from models a thousandth or a hundredth as dear."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from eval.benchmarks.forecast.material.answers import accuracy
from eval.benchmarks.forecast.material.mixtures import SMALL, TARGET, TINY, mixture_runs
from eval.benchmarks.forecast.material.readings import CROSS_ENTROPY, read
from eval.benchmarks.row import Row, Setting
from eval.tables import Floats
from probes.forecast.rank.proxies import PROXIES
from probes.forecast.rank.ranking import pairs_right

TOP5 = PROXIES.index("top5/frequency")
"""The paper's proxy for this decision."""
_REACH = ">= .85 of pairs"


def rows(setting: Setting) -> Iterator[Row]:
    """Pairs of mixtures in the right order, by the runs' mean accuracy over all tasks."""
    if setting.quick:
        yield Row("decisions between training mixtures", _REACH, "unmeasured in --quick: trains models", None)
        return
    targets = mixture_runs(setting, TARGET)
    truth = np.array([accuracy(run.folders[1.0], setting) for run in targets])
    for size in (TINY, SMALL):
        runs = mixture_runs(setting, size)
        share = runs[0].tokens * runs[0].parameters / (targets[0].tokens * targets[0].parameters)
        found = [read(run.folders[1.0], setting) for run in runs]
        asked = np.array([accuracy(run.folders[1.0], setting) for run in runs])
        scores = {
            "top5/frequency": np.array([one.mean[TOP5] for one in found]),
            "the solutions' cross-entropy": -np.array([one.mean[CROSS_ENTROPY] for one in found]),
            "training text's cross-entropy": -np.array([one.text_nats for one in found]),
            "letting them answer": asked,
        }
        yield _row(scores, truth, share)


def _row(scores: dict[str, Floats], truth: Floats, share: float) -> Row:
    counts = {name: pairs_right(values, truth) for name, values in scores.items()}
    right, pairs = counts["top5/frequency"]
    title = f"decisions between {len(truth)} training mixtures, from {share:.1e} of the compute"
    if not pairs:
        return Row(title, _REACH, "unmeasured: the mixtures end alike", None)
    shown = ", ".join(f"{name} {found[0] / pairs:.2f}" for name, found in counts.items())
    measured = (
        f"{shown} of {pairs} pairs that differ by more than .01; runs end at {truth.min():.3f} to"
        f" {truth.max():.3f}"
    )
    return Row(title, _REACH, measured, bool(right >= 0.85 * pairs))
