"""Who can answer a query at all; asked before anybody's probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from probes.errors import UsageError
from router.configuration.pool import Candidate, Pool
from router.configuration.settings import Capability

Bools = np.ndarray[Any, np.dtype[np.bool_]]

_WORDS: dict[Capability, str] = {
    "tools": "tools",
    "vision": "images",
    "json_schema": "JSON schemas",
    "logprobs": "logprobs",
    "n": "several answers (n > 1)",
}


@dataclass(frozen=True)
class Requirements:
    """What a request asks of its candidate.

    Attributes
    ----------
    input_tokens : int or None
        Length of the prompt; None: the scout's count.
    max_output_tokens : int or None
        The client's own limit of the answer; None: the candidate's own limit, and the expected length, count.
    tools, vision, json_schema, logprobs : bool
        Features that the request uses.
    n : int
        Answers per prompt.
    exclude : tuple of str
        Candidates that the client rules out.
    """

    input_tokens: int | None = None
    max_output_tokens: int | None = None
    tools: bool = False
    vision: bool = False
    json_schema: bool = False
    logprobs: bool = False
    n: int = 1
    exclude: tuple[str, ...] = ()

    @property
    def capabilities(self) -> frozenset[Capability]:
        """The capabilities that a candidate needs."""
        if not (self.tools or self.vision or self.json_schema or self.logprobs or self.n > 1):
            return frozenset()
        wanted: dict[Capability, bool] = {
            "tools": self.tools,
            "vision": self.vision,
            "json_schema": self.json_schema,
            "logprobs": self.logprobs,
            "n": self.n > 1,
        }
        return frozenset(name for name, needed in wanted.items() if needed)


def eligible(
    pool: Pool,
    requirements: Requirements,
    input_tokens: ArrayLike | None = None,
    output_tokens: ArrayLike | None = None,
) -> tuple[Bools, list[dict[str, str]]]:
    """Who can answer each of n queries that share their requirements.

    Parameters
    ----------
    pool : Pool
        K candidates.
    requirements : Requirements
        What the queries ask for.
    input_tokens : array-like of shape (n,), optional
        Prompt lengths, where `requirements` names none.
    output_tokens : array-like of shape (n, K), optional
        Expected answer lengths, where `requirements` names no limit.

    Returns
    -------
    mask : ndarray of shape (n, K)
        True where the candidate can answer.
    reasons : list of n dicts
        For each query, why the others cannot, by candidate.

    Raises
    ------
    UsageError
        `requirements.exclude` names somebody who is not in the pool.
    """
    for name in requirements.exclude:
        pool.index(name)
    inputs = _lengths(requirements, input_tokens)
    needed = _answer_room(pool, requirements, len(inputs), output_tokens)
    total = np.ceil(inputs[:, None] + needed)
    mask = total <= pool.context_tokens
    barred: list[str | None] = [None] * len(pool.candidates)
    wanted = requirements.capabilities
    if wanted or requirements.exclude:
        barred = [_barred(pool, candidate, wanted, requirements.exclude) for candidate in pool.candidates]
        mask = mask & np.array([reason is None for reason in barred])
    reasons: list[dict[str, str]] = [{} for _ in range(len(inputs))]
    if mask.all():
        return mask, reasons
    for i, k in np.argwhere(~mask):
        room = pool.candidates[k].context_tokens
        too_long = f"prompt and answer need {total[i, k]:.0f} tokens, its context has {room}"
        reasons[i][pool.names[k]] = barred[k] or too_long
    return mask, reasons


def _lengths(requirements: Requirements, input_tokens: ArrayLike | None) -> np.ndarray[Any, Any]:
    if requirements.input_tokens is None:
        return np.atleast_1d(np.asarray(0 if input_tokens is None else input_tokens, dtype=np.float64))
    n = 1 if input_tokens is None else np.size(np.asarray(input_tokens))
    return np.full(n, float(requirements.input_tokens))


def _answer_room(
    pool: Pool, requirements: Requirements, n: int, output_tokens: ArrayLike | None
) -> np.ndarray[Any, Any]:
    """Tokens to keep free for the answer, (n, K): the client's limit, or else what is expected."""
    limits = pool.max_output_tokens
    if requirements.max_output_tokens is not None:
        room = np.full((n, len(limits)), float(requirements.max_output_tokens))
    elif output_tokens is not None:
        room = np.asarray(output_tokens, dtype=np.float64)
    else:
        room = np.ones((n, len(limits)))
    if room.shape != (n, len(limits)):
        raise UsageError(
            f"output_tokens has shape {room.shape}, not {(n, len(limits))}.", param="output_tokens"
        )
    return np.asarray(np.maximum(1.0, np.minimum(room, limits)))


def _barred(
    pool: Pool, candidate: Candidate, wanted: frozenset[Capability], exclude: tuple[str, ...]
) -> str | None:
    """Why a candidate cannot answer any query with these requirements; None if it can."""
    if candidate.name in exclude:
        return "excluded by the request"
    lacking = wanted - pool.capabilities(candidate)
    if lacking:
        return "it does not support " + ", ".join(_WORDS[name] for name in sorted(lacking))
    return None
