"""Success shifted by prompt length, beyond the lengths that the probes were fitted on.

The trends stand in the artefact's record under ``lengths``; a router without any decides as before. Whether a
prompt fits at all is not decided here but in `router.decisions.eligibility`.
"""

from __future__ import annotations

from collections.abc import Mapping

from probes.errors import UsageError
from probes.forecast.trend.lengths import LengthTrend
from router.router import LENGTHS, Router


def with_lengths(router: Router, trends: Mapping[str, LengthTrend]) -> Router:
    """A router whose probabilities follow these trends; candidates that are not named keep theirs.

    Raises
    ------
    UsageError
        A trend is of nobody in the router.
    """
    for name in trends:
        if name not in router.fitted.candidates:
            raise UsageError(
                f"The router has no candidate {name!r} (it has {', '.join(router.fitted.candidates)}).",
                param="candidate",
            )
    record = dict(router.record)
    record[LENGTHS] = {**record.get(LENGTHS, {}), **{name: trend.to_dict() for name, trend in trends.items()}}
    return Router(router.pool, router.scorer, router.fitted, router.identity, record=record)
