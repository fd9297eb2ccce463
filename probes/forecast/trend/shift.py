"""Trends of several candidates, applied to a table of success probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from probes.errors import ArtefactError
from probes.estimators.solving.logistic import sigmoid
from probes.forecast.trend.lengths import LengthTrend

Floats = npt.NDArray[np.float64]

EDGE = 1e-6


def trends_from(record: object) -> dict[str, LengthTrend]:
    """Trends by candidate, from what `LengthTrend.to_dict` made of them; none where there is no record.

    Raises
    ------
    ArtefactError
        If the record is damaged.
    """
    if record is None:
        return {}
    if not isinstance(record, Mapping):
        raise ArtefactError("The artefact's length trends are damaged: no mapping.", param="lengths")
    return {str(name): LengthTrend.from_dict(value) for name, value in record.items()}


def shifted(
    success: Floats, tokens: npt.ArrayLike, names: Sequence[str], trends: Mapping[str, LengthTrend]
) -> Floats:
    """Success probabilities [n, K] of prompts of these lengths [n], shifted where a candidate has a trend."""
    if not trends:
        return success
    moved: Any = np.array(success, dtype=np.float64)
    for column, name in enumerate(names):
        if name in trends:
            inside = np.clip(moved[:, column], EDGE, 1 - EDGE)
            moved[:, column] = sigmoid(np.log(inside / (1 - inside)) + trends[name].shift(tokens))
    return np.asarray(moved)
