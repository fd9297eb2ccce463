"""``foresight bench probes``: what the probe bank is worth, on graded answers of real models.

One module for each group of rows. Every figure is of questions that the fit, the calibration and the knobs
have not seen; nothing is chosen on test data.
"""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmarks.row import Row, Setting


def benchmark(setting: Setting) -> Iterator[Row]:
    """Yield all rows, the quick ones first."""
    from eval.benchmarks.probes import agreement, difficulty, onboarding, reading, separation
    from eval.benchmarks.probes.speed import growth, scoring, solving

    for part in (agreement, reading, scoring, solving, growth, difficulty, onboarding, separation):
        yield from part.rows(setting)
