"""Ask every candidate every question, grade the answers, write an outcome set.

The calls are the costly part, so they are journalled one by one (`eval.collection.journal`); grading and
the tables come from the journal afterwards and can be repeated for nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eval.collection.chat import Patience, RefusedCallError, Target, ask
from eval.collection.journal import Answer, Journal, Key
from eval.grading.graders import grade
from eval.outcomes import MEASURES, Outcomes, Price
from eval.queries import Queries
from probes.encoders.conversation import Conversation
from probes.errors import BackendError, ConfigError, DataError, ForesightError, MissingExtraError, UsageError

if TYPE_CHECKING:
    import aiohttp

    from router.configuration.pool import Candidate, Pool

JOURNAL = "journal.jsonl"
"""Name of the journal inside the outcome set's folder."""

_FAILURES_IN_A_ROW = 20

Progress = Callable[[int, int], None]
"""Called with (finished calls, all calls)."""


Task = tuple[Key, Target, Conversation]
"""One call: its key, whom to ask, what."""


class Failure(NamedTuple):
    """A call that its backend refused."""

    key: Key
    reason: str


@dataclass(frozen=True)
class Collection:
    """What `collect` brings home.

    Attributes
    ----------
    outcomes : Outcomes
        The graded table, as written.
    calls : int
        Calls made in this run.
    reused : int
        Calls found finished in the journal.
    failures : tuple of Failure
        Refused calls; their cells are missing and are tried again by the next run.
    """

    outcomes: Outcomes
    calls: int
    reused: int
    failures: tuple[Failure, ...]


async def collect(
    pool: Pool,
    queries: Queries,
    out_folder: str | Path,
    *,
    endpoints: Mapping[str, str] | None = None,
    samples: int = 1,
    concurrency: int = 16,
    patience: Patience | None = None,
    progress: Progress | None = None,
) -> Collection:
    """Run a pool over questions and write ``queries.jsonl``, ``outcomes.csv`` and ``prices.csv``.

    Killed at any moment, the same call goes on where it stopped: no finished call is lost or repeated.

    Parameters
    ----------
    pool : Pool
        Its candidates are asked with their own model name and decoding and charged at their price.
    queries : Queries
        Each needs a reference; a field ``grader`` names its grader.
    out_folder : path
        Where the outcome set and its journal are kept.
    endpoints : mapping of str to str, optional
        Base URL of the OpenAI-compatible API by candidate; a backend of kind ``openai`` has its own.
    samples : int
        Draws a question and candidate.
    concurrency : int
        Calls in flight.
    patience : Patience, optional
        Retries and time limits.
    progress : callable, optional
        Told after every call.

    Raises
    ------
    UsageError
        A question without reference, an unknown grader, a candidate without endpoint.
    DataError
        The journal holds answers to other questions or of other decoding.
    BackendError
        A backend is out of reach; what was finished stays in the journal.
    """
    if samples < 1 or concurrency < 1:
        raise UsageError("samples and concurrency must be at least 1.", param="samples")
    _check_gradable(queries)
    folder = Path(out_folder)
    targets = [_target(pool, candidate, endpoints or {}) for candidate in pool.candidates]
    with Journal(folder / JOURNAL) as journal:
        work = _work(targets, queries, samples)
        _check_same(journal, work, folder)
        reused = sum(key in journal.answers for key, _, _ in work)
        failures = await _ask_all(journal, work, concurrency, patience or Patience(), progress)
        wanted = (journal.answers[key] for key, _, _ in work if key in journal.answers)
        outcomes = _save(tabulate(queries, _prices(pool), wanted), folder)
    return Collection(outcomes, len(work) - reused - len(failures), reused, tuple(failures))


def _work(targets: Sequence[Target], queries: Queries, samples: int) -> list[Task]:
    """Every call, candidates in turn so that all backends are kept busy."""
    return [
        (Key(query_id, target.candidate, sample), target, conversation)
        for query_id, conversation in zip(queries.ids, queries.conversations, strict=True)
        for sample in range(samples)
        for target in targets
    ]


async def _ask_all(
    journal: Journal, work: Sequence[Task], concurrency: int, patience: Patience, progress: Progress | None
) -> list[Failure]:
    try:
        import aiohttp
    except ImportError as exc:
        hint = 'pip install "foresight-router[eval]"'
        raise MissingExtraError("Collecting needs aiohttp.", hint=hint) from exc
    finished = sum(key in journal.answers for key, _, _ in work)
    todo = iter([task for task in work if task[0] not in journal.answers])
    failures: list[Failure] = []
    in_a_row: Counter[str] = Counter()

    async def worker(session: aiohttp.ClientSession) -> None:
        nonlocal finished
        for key, target, conversation in todo:
            try:
                journal.append(await ask(session, target, key, conversation, patience))
                in_a_row[target.candidate] = 0
            except RefusedCallError as exc:
                failures.append(Failure(key, str(exc)))
                in_a_row[target.candidate] += 1
                _give_up(target, in_a_row[target.candidate], str(exc))
            finished += 1
            if progress:
                progress(finished, len(work))

    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector) as session:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(worker(session))
        except ExceptionGroup as exc:
            raise _first(exc) from exc
    return failures


def _give_up(target: Target, failures: int, reason: str) -> None:
    """Stop paying for a candidate that refuses one call after another."""
    if failures >= _FAILURES_IN_A_ROW:
        raise BackendError(
            f"{target.candidate} at {target.url} refused {failures} calls in a row ({reason}).",
            param=target.candidate,
            hint="Check the candidate's decoding and context window; finished calls are kept.",
        )


def _first(group: ExceptionGroup) -> Exception:
    """The project's own error among several, else the first."""
    ours = [error for error in group.exceptions if isinstance(error, ForesightError)]
    return ours[0] if ours else group.exceptions[0]


def tabulate(queries: Queries, prices: Mapping[str, Price], answers: Iterable[Answer]) -> Outcomes:
    """Grade answers and average the draws of each question and candidate.

    Cost is tokens times price; without a reply's token counts it is unknown.
    """
    position = {query_id: i for i, query_id in enumerate(queries.ids)}
    column = {name: k for k, name in enumerate(prices)}
    shape = (len(queries), len(prices))
    sums = {name: np.zeros(shape) for name in ("correct", *MEASURES)}
    for answer in answers:
        i, k = position[answer.query_id], column[answer.candidate]
        price = prices[answer.candidate]
        tokens_in, tokens_out = (
            np.nan if count is None else float(count) for count in (answer.input_tokens, answer.output_tokens)
        )
        reference = queries.references[i] or ""
        sums["samples"][i, k] += 1
        sums["correct"][i, k] += grade(queries.extras[i].get("grader"), answer.text, reference)
        sums["input_tokens"][i, k] += tokens_in
        sums["output_tokens"][i, k] += tokens_out
        cost = tokens_in * price.usd_per_mtok_in + tokens_out * price.usd_per_mtok_out
        sums["cost_usd"][i, k] += cost / 1e6
        sums["latency_s"][i, k] += answer.latency_s
    drawn = sums.pop("samples")
    with np.errstate(invalid="ignore"):
        means = {name: np.where(drawn > 0, total / drawn, np.nan) for name, total in sums.items()}
    outcomes = Outcomes.build(queries, tuple(prices), means.pop("correct"), samples=drawn, **means)
    return replace(outcomes, prices=dict(prices))


def _save(outcomes: Outcomes, folder: Path) -> Outcomes:
    outcomes.save(folder)
    return replace(outcomes, name=folder.resolve().name)


def _target(pool: Pool, candidate: Candidate, endpoints: Mapping[str, str]) -> Target:
    backend = pool.backends[candidate.backend]
    own = backend.url if backend.kind == "openai" else None
    url = endpoints.get(candidate.name, own)
    if url is None:
        raise UsageError(
            f"No endpoint is known for the candidate {candidate.name!r}.",
            param="endpoints",
            hint="Start its server first, or give its base URL.",
        )
    variable = backend.api_key_env if backend.kind == "openai" else None
    if variable and not os.environ.get(variable):
        raise ConfigError(
            f"The environment variable {variable} is not set.",
            param=f"backends.{candidate.backend}.api_key_env",
            hint=f"export {variable}=…",
        )
    key = os.environ[variable] if variable else None
    return Target(candidate.name, candidate.model, url, candidate.decoding.body(), key)


def _prices(pool: Pool) -> dict[str, Price]:
    return {
        candidate.name: Price(candidate.price.usd_per_mtok_in, candidate.price.usd_per_mtok_out)
        for candidate in pool.candidates
    }


def _check_gradable(queries: Queries) -> None:
    """Find a question that cannot be graded before any call is paid for."""
    for i, query_id in enumerate(queries.ids):
        reference = queries.references[i]
        if reference is None:
            raise UsageError(
                f"The query {query_id!r} has no reference.",
                param="reference",
                hint="Add the right answer as the field 'reference'.",
            )
        try:
            grade(queries.extras[i].get("grader"), "", reference)
        except UsageError as exc:
            raise UsageError(f"Query {query_id!r}: {exc.message}", param=exc.param, hint=exc.hint) from exc


def _check_same(journal: Journal, work: Sequence[Task], folder: Path) -> None:
    for key, target, conversation in work:
        answer = journal.answers.get(key)
        if answer is not None and answer.request != target.fingerprint(key, conversation):
            raise DataError(
                f"{folder / JOURNAL}: {key.candidate} answered {key.query_id!r} under another prompt, model "
                "name or decoding.",
                hint="Collect into another folder, or delete the journal to ask everything again.",
            )
