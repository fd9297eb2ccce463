"""All that is known of a job's lines before one is answered: a few numbers a line, never its text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from probes.encoders.conversation import text_of
from probes.encoders.encoder import Activations
from probes.errors import ForesightError, UsageError
from probes.scoring.scorer import ScoreTable
from router.allocation.allocation import Worth
from router.allocation.multiplier import Floats, Ints
from router.allocation.spending import ForPolicy, Goal, worst_usd
from router.configuration.pool import Pool
from router.decisions.cost import expected_cost_usd
from router.decisions.eligibility import eligible
from router.decisions.wishes import Options
from router.router import Router
from serving.batch.lines import Fault, Item, Line, LineReader
from serving.flow.decider import conversation_of, requirements_of
from serving.flow.names import ModelNames
from serving.http.errors import ApiError

CHUNK = 256
"""Lines whose texts are held at once."""


@dataclass(frozen=True, eq=False)
class Survey:
    """n lines that can be run, and those that cannot.

    Attributes
    ----------
    numbers, offsets : ndarray of shape (n,)
        Line numbers from 1, and where in the file each begins.
    worth : Worth
        Success and expected cost of every candidate.
    worst_usd : ndarray of shape (n, K)
        The most that each answer can cost.
    own : ndarray of shape (n,)
        The candidate of a line that chooses by itself (named, or by a policy of its own); −1 for the others.
    groups : ndarray of shape (n,)
        Lines of one group share the beginning of their prompts.
    faults : tuple of Fault
        Lines that cannot be run.
    """

    numbers: Ints
    offsets: Ints
    worth: Worth
    worst_usd: Floats
    own: Ints
    groups: np.ndarray[Any, np.dtype[np.uint64]]
    faults: tuple[Fault, ...] = ()

    def __len__(self) -> int:
        return len(self.numbers)

    def save(self, path: Path) -> None:
        """Write it down, so that a job that is started again decides on the very same numbers."""
        faults = json.dumps([[f.number, f.custom_id, f.code, f.message] for f in self.faults])
        arrays = {name: getattr(self, name) for name in ("numbers", "offsets", "worst_usd", "own", "groups")}
        temporary = path.with_suffix(".tmp.npz")
        text = np.frombuffer(faults.encode(), np.uint8)
        with temporary.open("wb") as handle:
            np.savez(handle, success=self.worth.success, cost_usd=self.worth.cost_usd, faults=text, **arrays)
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Survey:
        """What `save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            parts = {name: stored[name] for name in stored.files}
        faults = json.loads(parts.pop("faults").tobytes())
        worth = Worth(parts.pop("success"), parts.pop("cost_usd"))
        return cls(worth=worth, faults=tuple(Fault(*fault) for fault in faults), **parts)


class Surveyor:
    """Reads, scores and prices the lines of a job.

    Parameters
    ----------
    router
        With an encoder that reads the prompts.
    goal
        What the job is for, if that is known; a policy chooses for every line by itself.
    """

    def __init__(self, router: Router, goal: Goal | None) -> None:
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
        faults: list[Fault] = []
        blocks: list[list[Any]] = []
        for chunk in _chunks(LineReader(path)):
            faults += [item for item in chunk if isinstance(item, Fault)]
            lines = [item for item in chunk if isinstance(item, Line)]
            for found in self._chunk(lines):
                if isinstance(found, Fault):
                    faults.append(found)
                else:
                    blocks.append(found)
            if progress:
                progress(chunk[-1].number)
        return _assembled(blocks, sorted(faults, key=lambda fault: fault.number), len(self._columns))

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


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    source = iter(items)
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


def _assembled(blocks: list[list[Any]], faults: list[Fault], k: int) -> Survey:
    blocks.sort(key=lambda block: int(block[0]))
    columns: list[Any] = list(zip(*blocks, strict=True)) if blocks else [()] * 7
    shape = (len(blocks), k)
    return Survey(
        np.array(columns[0], dtype=np.intp),
        np.array(columns[1], dtype=np.intp),
        Worth(
            np.array(columns[2], dtype=np.float64).reshape(shape).T.copy(),
            np.array(columns[3], dtype=np.float64).reshape(shape).T.copy(),
        ),
        np.array(columns[4], dtype=np.float64).reshape(shape),
        np.array(columns[5], dtype=np.intp),
        np.array(columns[6], dtype=np.uint64),
        tuple(faults),
    )
