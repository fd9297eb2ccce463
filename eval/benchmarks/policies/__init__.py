"""``foresight bench policies``: what the policies promise, and whether they keep it, on real graded answers.

One module for each group of rows. Predictions are always for questions that the fit has not seen.
"""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmarks.row import Row, Setting


def benchmark(setting: Setting) -> Iterator[Row]:
    """Yield all rows, the quick ones first."""
    from eval.benchmarks.policies import allowance, floor, harm, published, reports, speed

    for part in (published, allowance, floor, harm, reports, speed):
        yield from part.rows(setting)
