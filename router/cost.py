"""What an answer is expected to cost: the candidate's tokens, and the scout's prefill."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from probes.errors import UsageError

Floats = np.ndarray[Any, np.dtype[np.float64]]


def expected_cost_usd(prices: ArrayLike, input_tokens: ArrayLike, output_tokens: ArrayLike) -> Floats:
    """Expected cost of each candidate's answer to each query.

    Parameters
    ----------
    prices : array-like of shape (K, 2)
        US dollars per million tokens, in and out (`Pool.prices`).
    input_tokens : array-like of shape (n,) or (n, K)
        Prompt tokens.
    output_tokens : array-like of shape (n, K)
        Expected answer tokens.

    Returns
    -------
    ndarray of shape (n, K)
        US dollars.

    Raises
    ------
    UsageError
        The shapes do not fit.

    Examples
    --------
    >>> expected_cost_usd([[1.0, 2.0]], [500_000], [[250_000]])
    array([[1.]])
    """
    prices, output = np.asarray(prices, dtype=np.float64), np.asarray(output_tokens, dtype=np.float64)
    inputs = np.asarray(input_tokens, dtype=np.float64)
    if inputs.ndim == 1:
        inputs = inputs[:, None]
    if output.ndim != 2 or prices.shape != (output.shape[1], 2) or len(inputs) != len(output):
        raise UsageError(
            f"prices {prices.shape}, input_tokens {inputs.shape} and output_tokens {output.shape} do not fit;"
            " expected (K, 2), (n,) and (n, K).",
            param="output_tokens",
        )
    cost: Floats = (inputs * prices[:, 0] + output * prices[:, 1]) / 1e6
    return cost


def scout_cost_usd(usd_per_mtok: float, input_tokens: ArrayLike) -> Floats:
    """Cost of reading each prompt with the scout, in US dollars, of the shape of `input_tokens`."""
    cost: Floats = np.asarray(input_tokens, dtype=np.float64) * usd_per_mtok / 1e6
    return cost
