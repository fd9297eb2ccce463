"""What an answer is expected to cost: the candidate's tokens, and the scout's prefill."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from probes.errors import UsageError

Floats = np.ndarray[Any, np.dtype[np.float64]]

CACHED = 0.1
"""What a token from a prefix cache costs, as a share of one that must be read: several providers' price."""


def expected_cost_usd(
    prices: ArrayLike,
    input_tokens: ArrayLike,
    output_tokens: ArrayLike,
    *,
    cached_tokens: ArrayLike | None = None,
) -> Floats:
    """Expected cost of each candidate's answer to each query.

    Parameters
    ----------
    prices : array-like of shape (K, 2) or (K, 3)
        US dollars per million tokens, in and out (`Pool.prices`), and in from a server's prefix cache
        (a tenth of the price of others where it is left out: `CACHED`).
    input_tokens : array-like of shape (n,) or (n, K)
        Prompt tokens.
    output_tokens : array-like of shape (n, K)
        Expected answer tokens.
    cached_tokens : array-like of shape (n, K), optional
        Prompt tokens that each candidate has in its prefix cache, at most all of them. In a conversation the
        candidate of the last turn has nearly all, the others have none: switching pays for reading again.

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
    fits = output.ndim == 2 and prices.shape in {(output.shape[-1], 2), (output.shape[-1], 3)}
    if not fits or len(inputs) != len(output):
        raise UsageError(
            f"prices {prices.shape}, input_tokens {inputs.shape} and output_tokens {output.shape} do not fit;"
            " expected (K, 2), (n,) and (n, K).",
            param="output_tokens",
        )
    cost: Floats = (inputs * prices[:, 0] + output * prices[:, 1]) / 1e6
    if cached_tokens is None:
        return cost
    cached = np.asarray(cached_tokens, dtype=np.float64)
    if cached.shape != output.shape or not (cached >= 0).all():
        raise UsageError(
            f"cached_tokens must be at least 0 and of shape {output.shape}, not {cached.shape}.",
            param="cached_tokens",
        )
    held = prices[:, 2] if prices.shape[1] == 3 else CACHED * prices[:, 0]
    saved: Floats = np.minimum(cached, inputs) * (prices[:, 0] - held) / 1e6
    return cost - saved


def scout_cost_usd(usd_per_mtok: float, input_tokens: ArrayLike) -> Floats:
    """Cost of reading each prompt with the scout, in US dollars, of the shape of `input_tokens`."""
    cost: Floats = np.asarray(input_tokens, dtype=np.float64) * usd_per_mtok / 1e6
    return cost
