"""Graded outcomes: which candidate answered which query how well, at what cost.

An outcome set is a folder::

    queries.jsonl[.gz]            query_id, prompt or messages; optional dataset, reference, group, …
    outcomes.csv[.gz] | .parquet  query_id, model (the candidate), correct in [0, 1]; optional samples,
                                  input_tokens, output_tokens, cost_usd, latency_s
    prices.csv                    optional: model, usd_per_mtok_in, usd_per_mtok_out

Not every candidate need have answered every query: what is missing is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eval.queries import Queries
from eval.tables import Floats, Table, find, read_csv, read_parquet, write_csv
from probes.encoders.conversation import Conversation
from probes.errors import DataError, UsageError

MEASURES = ("samples", "input_tokens", "output_tokens", "cost_usd", "latency_s")
"""Optional columns of the outcome table, in the order in which they are written."""


class Price(NamedTuple):
    """What a candidate charges, in US dollars a million tokens."""

    usd_per_mtok_in: float
    usd_per_mtok_out: float


@dataclass(frozen=True)
class Outcomes:
    """An outcome set in memory: n queries by K candidates.

    Attributes
    ----------
    queries : Queries
        The n questions.
    candidates : tuple of str
        The K candidates, in order of first appearance.
    correct : ndarray of shape (n, K)
        Share of right draws in [0, 1]; NaN where the candidate did not answer the query.
    samples : ndarray of shape (n, K)
        Draws behind `correct`; 0 where missing.
    input_tokens, output_tokens, cost_usd, latency_s : ndarray of shape (n, K)
        Means over the draws (tokens, US dollars, seconds); NaN where unknown.
    prices : dict of str to Price
        Prices of the candidates, where the set has them.
    name : str
        The set's name, from its folder.
    """

    queries: Queries
    candidates: tuple[str, ...]
    correct: Floats
    samples: Floats
    input_tokens: Floats
    output_tokens: Floats
    cost_usd: Floats
    latency_s: Floats
    prices: Mapping[str, Price] = field(default_factory=dict)
    name: str = "outcomes"

    def __post_init__(self) -> None:
        """Refuse tables of unequal shape."""
        shape = (len(self.queries), len(self.candidates))
        for name in ("correct", *MEASURES):
            found = getattr(self, name).shape
            if found != shape:
                raise UsageError(f"{name} has shape {found}; queries × candidates is {shape}.", param=name)

    @classmethod
    def build(
        cls, queries: Queries, candidates: Sequence[str], correct: Floats, **measures: Floats
    ) -> Outcomes:
        """An outcome set from `correct` (n, K) and whichever of the other tables are known."""
        correct = np.asarray(correct, dtype=np.float64)
        tables = {name: np.full(correct.shape, np.nan) for name in MEASURES}
        tables["samples"] = np.where(np.isnan(correct), 0.0, 1.0)
        unknown = measures.keys() - tables.keys()
        if unknown:
            raise UsageError(f"There is no table {min(unknown)!r} in an outcome set.", param=min(unknown))
        tables |= {name: np.asarray(table, dtype=np.float64) for name, table in measures.items()}
        samples, tokens_in, tokens_out, cost, latency = (tables[name] for name in MEASURES)
        return cls(queries, tuple(candidates), correct, samples, tokens_in, tokens_out, cost, latency)

    @property
    def query_ids(self) -> tuple[str, ...]:
        """Unique names of the n queries."""
        return self.queries.ids

    @property
    def conversations(self) -> tuple[Conversation, ...]:
        """The n conversations."""
        return self.queries.conversations

    @property
    def datasets(self) -> tuple[str, ...]:
        """Dataset of each query."""
        return self.queries.datasets

    @property
    def groups(self) -> tuple[str, ...]:
        """Group of each query: the unit that splits and bootstraps keep together."""
        return self.queries.groups

    @property
    def references(self) -> tuple[str | None, ...]:
        """Reference answer of each query."""
        return self.queries.references

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def answered(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Where an outcome exists, shape (n, K)."""
        return ~np.isnan(self.correct)

    def take(self, index: np.ndarray[Any, Any]) -> Outcomes:
        """The queries at these positions (or under this mask), in this order."""
        index = np.asarray(index)
        if index.dtype == np.bool_:
            index = np.flatnonzero(index)
        arrays = {name: getattr(self, name)[index] for name in ("correct", *MEASURES)}
        return replace(self, queries=self.queries.take(index), **arrays)

    def select(self, candidates: Sequence[str]) -> Outcomes:
        """These candidates only, in this order.

        Raises
        ------
        UsageError
            A name is not among the candidates.
        """
        unknown = [name for name in candidates if name not in self.candidates]
        if unknown:
            known = ", ".join(self.candidates)
            raise UsageError(
                f"There is no candidate {unknown[0]!r} (there are: {known}).", param="candidates"
            )
        columns = [self.candidates.index(name) for name in candidates]
        arrays = {name: getattr(self, name)[:, columns] for name in ("correct", *MEASURES)}
        prices = {name: self.prices[name] for name in candidates if name in self.prices}
        return replace(self, candidates=tuple(candidates), prices=prices, **arrays)

    @classmethod
    def load(cls, folder: str | Path) -> Outcomes:
        """Read an outcome set.

        Costs that the table leaves out are computed from its tokens where ``prices.csv`` has the candidate.

        Raises
        ------
        DataError
            Naming file, line, column and the fix: missing file or column, NaN, correct outside [0, 1],
            a repeated outcome, an unknown query_id, bad JSON.
        """
        folder = Path(folder)
        queries = Queries.load(_needed(folder, "queries", (".jsonl", ".jsonl.gz")))
        path = _needed(folder, "outcomes", (".csv", ".csv.gz", ".parquet"))
        table = read_parquet(path) if path.suffix == ".parquet" else read_csv(path)
        listed = find(folder, "prices", (".csv", ".csv.gz"))
        prices = {} if listed is None else load_prices(listed)
        rows, columns, candidates = _positions(table, queries)
        arrays = _arrays(table, rows, columns, (len(queries), len(candidates)))
        charge = [prices.get(name, Price(np.nan, np.nan)) for name in candidates]
        per_mtok_in, per_mtok_out = np.array(charge).reshape(-1, 2).T
        estimate = (arrays["input_tokens"] * per_mtok_in + arrays["output_tokens"] * per_mtok_out) / 1e6
        arrays["cost_usd"] = np.where(np.isnan(arrays["cost_usd"]), estimate, arrays["cost_usd"])
        known = {name: prices[name] for name in candidates if name in prices}
        outcomes = cls.build(queries, candidates, **arrays)
        return replace(outcomes, prices=known, name=folder.absolute().name)

    def save(self, folder: str | Path, *, compress: bool = False) -> None:
        """Write the outcome set; every file appears complete or not at all.

        Parameters
        ----------
        folder : path
            Made when it does not exist.
        compress : bool
            Gzip the tables.
        """
        folder, suffix = Path(folder), ".gz" if compress else ""
        self.queries.save(folder / f"queries.jsonl{suffix}")
        used = [name for name in MEASURES if not np.isnan(getattr(self, name)[self.answered]).all()]
        tables = [getattr(self, name) for name in ("correct", *used)]
        rows = (
            [self.query_ids[i], self.candidates[k], *(_number(table[i, k]) for table in tables)]
            for i, k in np.argwhere(self.answered)
        )
        write_csv(folder / f"outcomes.csv{suffix}", ["query_id", "model", "correct", *used], rows)
        if self.prices:
            priced = ([name, *map(_number, price)] for name, price in self.prices.items())
            write_csv(folder / "prices.csv", ["model", *Price._fields], priced)


def _needed(folder: Path, stem: str, suffixes: Sequence[str]) -> Path:
    path = find(folder, stem, suffixes)
    if path is None:
        names = " or ".join(stem + suffix for suffix in suffixes)
        what = f"has no {names}"
        if not folder.is_dir():
            what = "is no folder" if folder.exists() else "does not exist"
        raise DataError(f"{folder} {what}.", hint=f"An outcome set is a folder with {names}.")
    return path


def _positions(
    table: Table, queries: Queries
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], tuple[str, ...]]:
    """Row and column in the n × K tables of every line of the outcome table."""
    position = {query_id: i for i, query_id in enumerate(queries.ids)}
    seen: dict[str, int] = {}
    ids, models = table.text("query_id"), table.text("model")
    rows = np.array([position.get(query_id, -1) for query_id in ids], dtype=np.int64)
    columns = np.array([seen.setdefault(name, len(seen)) for name in models], dtype=np.int64)
    if (rows < 0).any():
        row = int(np.flatnonzero(rows < 0)[0])
        fix = "Add the query to queries.jsonl, or remove the row."
        raise table.fail(row, "query_id", f"{ids[row]!r} is not in queries.jsonl", fix)
    if not len(rows):
        raise DataError(f"{table.path}: there are no outcomes.", hint="Write one row a query and candidate.")
    flat = rows * len(seen) + columns
    _, first, inverse = np.unique(flat, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[inverse] != np.arange(len(flat)))
    if len(again):
        row = int(again[0])
        other = table.lines[int(first[inverse[row]])]
        problem = f"{ids[row]!r} has an outcome of {models[row]!r} already, on line {other}"
        raise table.fail(row, "query_id", problem, "Average repeated draws into one row and set 'samples'.")
    return rows, columns, tuple(seen)


def _arrays(
    table: Table, rows: np.ndarray[Any, Any], columns: np.ndarray[Any, Any], shape: tuple[int, int]
) -> dict[str, Floats]:
    """Spread the table's columns over queries × candidates."""
    cells = {"correct": table.numbers("correct", high=1.0, required=True)}
    cells |= {name: table.numbers(name) for name in MEASURES}
    cells["samples"] = np.where(np.isnan(cells["samples"]), 1.0, cells["samples"])
    if (cells["samples"] < 1).any():
        row = int(np.flatnonzero(cells["samples"] < 1)[0])
        raise table.fail(row, "samples", "fewer than one draw", "Leave the row out when nothing was drawn.")
    arrays = {}
    for name, values in cells.items():
        arrays[name] = np.full(shape, 0.0 if name == "samples" else np.nan)
        arrays[name][rows, columns] = values
    return arrays


def load_prices(path: Path) -> dict[str, Price]:
    """Prices by candidate: model, usd_per_mtok_in, usd_per_mtok_out."""
    table = read_csv(path)
    names = table.text("model")
    pairs = zip(*(table.numbers(column, required=True) for column in Price._fields), strict=True)
    return {name: Price(float(a), float(b)) for name, (a, b) in zip(names, pairs, strict=True)}


def _number(value: float) -> str:
    """The shortest text that reads back as the same number; empty for NaN."""
    if np.isnan(value):
        return ""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))
