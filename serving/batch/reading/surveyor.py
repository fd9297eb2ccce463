"""Reads, scores and prices the lines of a job, some at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from probes.encoders.conversation import text_of
from probes.encoders.encoder import Activations
from probes.errors import ForesightError, UsageError
from probes.scoring.scores import ScoreTable
from router.allocation.multiplier import Floats
from router.allocation.spending import ForPolicy, Goal, worst_usd
from router.configuration.pool import Pool
from router.decisions.cost import expected_cost_usd
from router.decisions.eligibility import eligible
from router.decisions.wishes import Options
from router.router import Router
from serving.batch.reading.lines import Fault, Item, Line, LineReader
from serving.batch.reading.survey import Survey, assembled, joined
from serving.flow.decider import conversation_of, requirements_of
from serving.flow.names import ModelNames
from serving.http.errors import ApiError
from serving.http.protocol import Query

Permit: TypeAlias = Callable[[Query], Query]
CHUNK = 256
"""Lines whose texts are held at once."""


class Reader(Protocol):
    """Reads a whole file of lines."""

    def survey(self, path: Path, progress: Callable[[int], None] | None = None) -> Survey:
        """One pass."""
        ...


class Surveyor:
    """Reads, scores and prices the lines of a job.

    Parameters
    ----------
    router
        With an encoder that reads the prompts.
    goal
        What the job is for, if that is known; a policy chooses for every line by itself.
    permit
        Narrows what a line may ask for, or raises `ApiError`; None permits all.
    """

    def __init__(self, router: Router, goal: Goal | None, permit: Permit | None = None) -> None:
        self._permit = permit
        self._router = router
        self._pool = router.pool
        self._goal = goal
        policies = [*router.pool.policies, *router.fitted.knobs]
        self._names = ModelNames(router.pool, policies)
        self._columns = [router.fitted.candidates.index(name) for name in router.pool.names]

    def survey(self, path: Path, progress: Callable[[int], None] | None = None) -> Survey:
        """One pass over a JSONL file.

        Parameters
        ----------
        path
            Batch lines.
        progress
            Told how many lines were read.
        """
        parts = []
        for chunk in chunks(path):
            parts.append(self.part(chunk))
            if progress:
                progress(chunk[-1].number)
        return joined(parts, len(self._columns))

    def part(self, chunk: Sequence[Item]) -> Survey:
        """The survey of some lines; a line's numbers may depend on its company in the last digits."""
        items = [self._permitted(item) for item in chunk]
        faults = [item for item in items if isinstance(item, Fault)]
        blocks: list[list[Any]] = []
        for found in self._chunk([item for item in items if isinstance(item, Line)]):
            if isinstance(found, Fault):
                faults.append(found)
            else:
                blocks.append(found)
        return assembled(blocks, faults, len(self._columns))

    def _permitted(self, item: Item) -> Item:
        if self._permit is None or isinstance(item, Fault):
            return item
        try:
            return replace(item, query=self._permit(item.query))
        except ApiError as error:
            return Fault(item.number, item.custom_id, error.code or "invalid_request", error.message)

    def _chunk(self, lines: Sequence[Line]) -> Iterator[Fault | list[Any]]:
        """Numbers of each line, or its fault; lines with the same tools are read together."""
        by_tools: dict[str, list[Line]] = {}
        for line in lines:
            by_tools.setdefault(json.dumps(line.query.body.get("tools")), []).append(line)
        for group in by_tools.values():
            try:
                read = self._read(group)
            except Exception:  # an encoder may raise anything; one bad line must not take others down
                for line in group:
                    yield self._alone(line)
                continue
            yield from (self._line(line, *self._row(read, i)) for i, line in enumerate(group))

    def _alone(self, line: Line) -> Fault | list[Any]:
        try:
            return self._line(line, *self._row(self._read([line]), 0))
        except UsageError as error:
            return Fault(line.number, line.custom_id, "invalid_request", error.message)
        except ApiError as error:
            return Fault(line.number, line.custom_id, error.code or "invalid_request", error.message)
        except Exception:  # as in the gateway: a line that was not read goes to the safe candidate
            return self._line(line, None, len(json.dumps(line.query.body)) / 4)

    def _read(self, lines: Sequence[Line]) -> tuple[Activations, ScoreTable]:
        conversations = [conversation_of(line.query) for line in lines]
        activations = self._router.encoder.encode(conversations, tools=lines[0].query.body.get("tools"))
        return activations, self._router.scorer.score(activations.features())

    def _row(self, read: tuple[Activations, ScoreTable], i: int) -> tuple[ScoreTable, float]:
        activations, table = read
        parts = {
            name: getattr(table, name)[i : i + 1] for name in ("success", "output_tokens", "novelty", "novel")
        }
        return ScoreTable(**parts), float(activations.n_tokens[i])

    def _line(self, line: Line, scored: ScoreTable | None, n_tokens: float) -> Fault | list[Any]:
        try:
            return self._priced(line, scored, n_tokens)
        except ApiError as error:
            return Fault(line.number, line.custom_id, error.code or "invalid_request", error.message)
        except ForesightError as error:
            return Fault(line.number, line.custom_id, "no_candidate", error.message)

    def _priced(self, line: Line, scored: ScoreTable | None, n_tokens: float) -> list[Any]:
        pool, wishes, needs = self._pool, line.query.preferences, requirements_of(line.query)
        target = self._names.resolve(line.query.model)
        success, lengths = self._known(scored)
        limits = _limits(pool, line, n_tokens)
        lengths = np.minimum(lengths, limits)
        tokens = np.array([n_tokens])
        cost = expected_cost_usd(pool.prices, tokens, lengths[None] * needs.n)[0]
        mask, reasons = eligible(pool, needs, tokens, lengths[None])
        able, why = mask[0], reasons[0]
        if wishes.max_cost_usd is not None:
            able = able & (cost <= wishes.max_cost_usd)
        if target.candidate is not None:
            able = able & (np.array(pool.names) == target.candidate.name)
        if not able.any():
            told = (
                "; ".join(f"{name}: {reason}" for name, reason in why.items()) or "the request's own limits"
            )
            raise UsageError(f"No candidate can answer this line: {told}.")
        own = int(able.argmax()) if target.candidate else self._own(line, scored, n_tokens, target.policy)
        safe = pool.index(self._router.safe_candidate)
        if own < 0 and (scored is None or bool(scored.novel[0])) and able[safe]:
            own = safe
        worst = worst_usd(pool.prices, tokens, limits[None] * needs.n)[0]
        return [
            line.number,
            line.offset,
            np.where(able, success, -np.inf),
            cost * able,
            worst,
            own,
            _group(line),
        ]

    def _known(self, scored: ScoreTable | None) -> tuple[Floats, Floats]:
        if scored is not None:
            return (
                scored.success[0, self._columns].astype(np.float64),
                scored.output_tokens[0, self._columns].astype(np.float64),
            )
        means = self._router.fitted
        names = self._pool.names
        return (
            np.array([means.success[name] for name in names]),
            np.array([means.output_tokens[name] for name in names]),
        )

    def _own(self, line: Line, scored: ScoreTable | None, n_tokens: float, policy: str | None) -> int:
        """The choice of a line with a policy of its own, or of a job by policy; −1 for the others."""
        wishes = line.query.preferences
        policy = wishes.policy or (policy if wishes.quality is None else None)
        asked = not (policy is None and wishes.quality is None and wishes.min_success is None)
        if scored is None or not (asked or isinstance(self._goal, ForPolicy)):
            return -1
        if not asked and isinstance(self._goal, ForPolicy):
            policy = self._goal.policy
        options: Options = {
            "policy": policy,
            "quality": wishes.quality,
            "min_success": wishes.min_success,
            "max_cost_usd": wishes.max_cost_usd,
            "requirements": requirements_of(line.query),
        }
        decision = self._router.decide_scored(scored, [n_tokens], **options)[0]
        return self._pool.index(decision.candidate)


def chunks(path: Path) -> Iterator[list[Item]]:
    """The lines of a file, so many at a time as are read together."""
    source = iter(LineReader(path))
    while chunk := list(islice(source, CHUNK)):
        yield chunk


def _limits(pool: Pool, line: Line, n_tokens: float) -> Floats:
    """Longest answers in tokens, (K,): the line's limit, the candidate's, the rest of its context."""
    asked = line.query.max_output_tokens
    limits = []
    for candidate in pool.candidates:
        body = candidate.decoding.body()
        own = asked or body.get("max_tokens") or body.get("max_completion_tokens")
        room = max(1.0, candidate.context_tokens - n_tokens)
        limits.append(min(float(own or room), float(candidate.max_output_tokens or room), room))
    return np.array(limits)


def _group(line: Line) -> int:
    """A digest of the prompt's shared beginning: tools and system messages."""
    body = line.query.body
    messages = body.get("messages") or []
    system = [text_of(m.get("content")) for m in messages if m.get("role") in ("system", "developer")]
    if not system and not body.get("tools"):
        return 0
    text = json.dumps([system, body.get("tools")], sort_keys=True)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
