"""From a stream of answers to an outcome set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from eval.importers.answer import Answer, Place
from eval.outcomes import MEASURES, Outcomes, Price
from eval.queries import Queries
from probes.encoders.conversation import Conversation
from probes.errors import DataError


@dataclass
class _Cell:
    """Running sums of one candidate's answers to one query."""

    draws: dict[str, Place] = field(default_factory=dict)
    samples: float = 0.0
    correct: float = 0.0
    sums: dict[str, tuple[float, float]] = field(default_factory=dict)

    def add(self, answer: Answer) -> None:
        samples = answer.measures.get("samples", 1.0)
        self.draws[answer.draw] = answer.place
        self.samples += samples
        self.correct += samples * answer.correct
        for name, value in answer.measures.items():
            if name != "samples":
                total, weight = self.sums.get(name, (0.0, 0.0))
                self.sums[name] = (total + samples * value, weight + samples)

    def mean(self, name: str) -> float:
        if name == "samples":
            return self.samples
        total, weight = self.sums.get(name, (np.nan, 1.0))
        return total / weight


@dataclass
class _Query:
    """What the first answer said of a query."""

    conversation: Conversation
    dataset: str | None
    group: str | None
    reference: str | None
    version: str | None
    place: Place


def assemble(
    answers: Iterable[Answer],
    *,
    average: bool = False,
    prices: Mapping[str, Price] | None = None,
    name: str = "outcomes",
) -> Outcomes:
    """Put answers together; only sums are kept of them.

    Parameters
    ----------
    answers : iterable of Answer
        In any order.
    average : bool
        Take repeated answers of a candidate to a question as draws, and average them.
    prices : mapping of str to Price, optional
        Turn tokens into costs where an answer has none.
    name : str
        Of the outcome set.

    Raises
    ------
    DataError
        No answers; an answer stands there twice; two versions of a question.
    """
    queries: dict[str, _Query] = {}
    cells: dict[tuple[str, str], _Cell] = {}
    candidates: dict[str, None] = {}
    for answer in answers:
        candidates.setdefault(answer.candidate)
        known = queries.setdefault(answer.query_id, _query(answer))
        if known.version != answer.version:
            raise answer.place.fail(
                "version",
                f"the question {answer.query_id!r} is another one than in {known.place}",
                "Import runs of one version of the data set.",
            )
        cell = cells.setdefault((answer.query_id, answer.candidate), _Cell())
        draw = (
            answer.draw if not (average and answer.draw in cell.draws) else f"{answer.draw}#{len(cell.draws)}"
        )
        if draw in cell.draws:
            raise answer.place.fail(
                "query_id",
                f"{answer.candidate!r} has answered {answer.query_id!r} already, in {cell.draws[draw]}",
                "Leave one out, name the file's candidate (NAME=PATH), or add --average for repeated draws.",
            )
        cell.add(replace(answer, draw=draw))
    if not cells:
        raise DataError("There are no graded answers in these files.", hint="Check KIND and PATHS.")
    return _outcomes(queries, cells, tuple(candidates), dict(prices or {}), name)


def _query(answer: Answer) -> _Query:
    return _Query(
        answer.conversation, answer.dataset, answer.group, answer.reference, answer.version, answer.place
    )


def _outcomes(
    queries: Mapping[str, _Query],
    cells: Mapping[tuple[str, str], _Cell],
    candidates: tuple[str, ...],
    prices: dict[str, Price],
    name: str,
) -> Outcomes:
    rows = {query_id: i for i, query_id in enumerate(queries)}
    columns = {candidate: k for k, candidate in enumerate(candidates)}
    correct = np.full((len(rows), len(columns)), np.nan)
    measures = {measure: np.full(correct.shape, np.nan) for measure in MEASURES}
    measures["samples"][:] = 0.0
    for (query_id, candidate), cell in cells.items():
        at = rows[query_id], columns[candidate]
        correct[at] = cell.correct / cell.samples
        for measure, table in measures.items():
            table[at] = cell.mean(measure)
    known = {candidate: prices[candidate] for candidate in candidates if candidate in prices}
    charge = np.array([known.get(candidate, Price(np.nan, np.nan)) for candidate in candidates])
    estimate = (measures["input_tokens"] * charge[:, 0] + measures["output_tokens"] * charge[:, 1]) / 1e6
    measures["cost_usd"] = np.where(np.isnan(measures["cost_usd"]), estimate, measures["cost_usd"])
    built = Queries.build(
        [query.conversation for query in queries.values()],
        ids=list(rows),
        datasets=[query.dataset or "" for query in queries.values()],
        groups=[query.group or query_id for query_id, query in queries.items()],
        references=[query.reference for query in queries.values()],
    )
    return replace(Outcomes.build(built, candidates, correct, **measures), prices=known, name=name)
