"""Outcome sets: round trips, and errors that name file, line, column and the fix."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.outcomes import MEASURES, Outcomes, Price
from eval.queries import Queries
from probes.errors import DataError, UsageError

QUERIES = [
    {"query_id": "q1", "prompt": "What is 1+1?", "dataset": "sums", "reference": "2", "level": 3},
    {"query_id": "q2", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]},
]
TABLE = "query_id,model,correct,output_tokens,cost_usd\nq1,small,1,5,.001\nq1,large,.5,9,\nq2,small,0,,\n"


def write_set(folder: Path, *, queries: str | None = None, table: str = TABLE) -> Path:
    text = queries if queries is not None else "".join(json.dumps(query) + "\n" for query in QUERIES)
    (folder / "queries.jsonl").write_text(text)
    (folder / "outcomes.csv").write_text(table)
    return folder


def assert_same(first: Outcomes, second: Outcomes) -> None:
    assert first.queries == second.queries
    assert first.candidates == second.candidates
    for name in ("correct", *MEASURES):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_a_set_is_read_into_queries_by_candidates(tmp_path: Path) -> None:
    outcomes = Outcomes.load(write_set(tmp_path))
    assert outcomes.query_ids == ("q1", "q2")
    assert outcomes.candidates == ("small", "large")
    np.testing.assert_array_equal(outcomes.correct, [[1, 0.5], [0, np.nan]])
    np.testing.assert_array_equal(outcomes.samples, [[1, 1], [1, 0]])
    np.testing.assert_array_equal(outcomes.output_tokens, [[5, 9], [np.nan, np.nan]])
    assert outcomes.datasets == ("sums", "")
    assert outcomes.groups == ("q1", "q2")
    assert outcomes.references == ("2", None)
    assert outcomes.queries.extras == ({"level": 3}, {})
    assert outcomes.conversations[0][0]["content"] == "What is 1+1?"
    assert [message["role"] for message in outcomes.conversations[1]] == ["system", "user"]


@pytest.mark.parametrize("compress", [False, True])
def test_a_saved_set_reads_back_the_same(tmp_path: Path, compress: bool) -> None:
    outcomes = Outcomes.load(write_set(tmp_path))
    outcomes.save(tmp_path / "copy", compress=compress)
    assert_same(Outcomes.load(tmp_path / "copy"), outcomes)
    assert all((path.suffix == ".gz") == compress for path in (tmp_path / "copy").iterdir())


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_any_set_reads_back_the_same(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    unit = st.floats(0, 1) | st.just(float("nan"))
    big = st.floats(0, 1e12) | st.just(float("nan"))
    texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
    prompts = data.draw(st.lists(texts, min_size=1, max_size=4))
    n, k = len(prompts), data.draw(st.integers(1, 3))

    def table(cells: st.SearchStrategy[float]) -> np.ndarray[Any, Any]:
        return np.array([[data.draw(cells) for _ in range(k)] for _ in range(n)])

    correct = table(unit)
    correct[0] = 0.25
    answered = ~np.isnan(correct)
    costs = np.where(answered, table(big), np.nan)
    queries = Queries.build(prompts, references=data.draw(st.lists(texts, min_size=n, max_size=n)))
    outcomes = Outcomes.build(queries, [f"m{i}" for i in range(k)], correct, cost_usd=costs)
    folder = tmp_path_factory.mktemp("set")
    outcomes.save(folder)
    assert_same(Outcomes.load(folder), outcomes)


def test_parquet_and_gzip_hold_the_same_table(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    outcomes = Outcomes.load(write_set(tmp_path))
    polars.read_csv(tmp_path / "outcomes.csv").write_parquet(tmp_path / "outcomes.parquet")
    (tmp_path / "outcomes.csv").unlink()
    assert_same(Outcomes.load(tmp_path), outcomes)
    (tmp_path / "outcomes.parquet").unlink()
    (tmp_path / "outcomes.csv.gz").write_bytes(gzip.compress(TABLE.encode()))
    assert_same(Outcomes.load(tmp_path), outcomes)


def test_missing_costs_come_from_tokens_and_prices(tmp_path: Path) -> None:
    table = "query_id,model,correct,input_tokens,output_tokens,cost_usd\nq1,a,1,100,10,\nq2,a,1,100,10,.5\n"
    write_set(tmp_path, table=table)
    (tmp_path / "prices.csv").write_text("model,usd_per_mtok_in,usd_per_mtok_out\na,1,20\nunused,1,1\n")
    outcomes = Outcomes.load(tmp_path)
    assert outcomes.prices == {"a": Price(1, 20)}
    np.testing.assert_allclose(outcomes.cost_usd, [[0.0003], [0.5]])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("query_id,correct\nq1,1\n", "'model' is missing"),
        ("query_id,model\nq1,a\n", "'correct' is missing"),
        (
            "query_id,model,correct\nq1,a,1\nq2,a,nan\n",
            "line 3, column 'correct': the value is missing or NaN",
        ),
        ("query_id,model,correct\nq1,a,1\nq2,a,\n", "line 3, column 'correct'"),
        ("query_id,model,correct\nq1,a,1.5\n", r"line 2, column 'correct': 1.5 is outside \[0, 1\]"),
        ("query_id,model,correct\nq1,a,inf\n", r"inf is outside \[0, 1\]"),
        ("query_id,model,correct\nq1,a,yes\n", "line 2, column 'correct': 'yes' is not a number"),
        ("query_id,model,correct\nq1,a,1\nq1,a,0\n", "line 3, column 'query_id': 'q1' has an outcome of 'a'"),
        ("query_id,model,correct\nq1,a,1\nq9,a,0\n", "line 3, column 'query_id': 'q9' is not in"),
        ("query_id,model,correct\nq1,,1\n", "line 2, column 'model': the cell is empty"),
        ("query_id,model,correct\nq1,a\n", "line 2: 2 cells, but the header names 3"),
        ("query_id,model,model,correct\n", "repeated column"),
        ("query_id,model,correct,cost_usd\nq1,a,1,-2\n", "line 2, column 'cost_usd': -2 is outside"),
        ("query_id,model,correct,samples\nq1,a,1,0\n", "line 2, column 'samples': fewer than one draw"),
        ("query_id,model,correct\n", "there are no outcomes"),
        ("", "the file is empty"),
    ],
)
def test_a_bad_table_is_refused_with_its_place(tmp_path: Path, table: str, message: str) -> None:
    write_set(tmp_path, table=table)
    with pytest.raises(DataError, match=message) as caught:
        Outcomes.load(tmp_path)
    assert "outcomes.csv" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ('{"query_id": "q1", "prompt": "p"}\n{"query_id": ', "line 2: not valid JSON"),
        ("[1]\n", "line 1: a JSON object was expected, not list"),
        ('{"prompt": "p"}\n', "line 1, field 'query_id': missing"),
        ('{"query_id": "a", "prompt": "p"}\n\n{"query_id": "a", "prompt": "p"}\n', "line 3, .* line 1 too"),
        ('{"query_id": "a"}\n', "line 1: neither 'prompt' nor 'messages'"),
        ('{"query_id": "a", "messages": [{"role": 1}]}\n', "line 1: "),
        ('{"query_id": "a", "prompt": "p", "group": [1]}\n', "line 1, field 'group'"),
        ("\n", "there are no queries"),
    ],
)
def test_bad_queries_are_refused_with_their_place(tmp_path: Path, queries: str, message: str) -> None:
    write_set(tmp_path, queries=queries)
    with pytest.raises(DataError, match=message) as caught:
        Outcomes.load(tmp_path)
    assert "queries.jsonl" in caught.value.message


def test_a_missing_folder_or_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        Outcomes.load(tmp_path / "nowhere")
    (tmp_path / "notes.md").write_text("no outcomes")
    with pytest.raises(DataError, match="is no folder"):
        Outcomes.load(tmp_path / "notes.md")
    with pytest.raises(DataError, match=r"has no queries\.jsonl"):
        Outcomes.load(tmp_path)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / "outcomes.csv").write_bytes(b"query_id,model,correct\nq1,\xff\xfe,1\n")
    with pytest.raises(DataError, match="not UTF-8"):
        Outcomes.load(tmp_path)
    (tmp_path / "outcomes.csv").unlink()
    (tmp_path / "outcomes.csv.gz").write_bytes(gzip.compress(TABLE.encode())[:-12])
    with pytest.raises(DataError, match="damaged gzip"):
        Outcomes.load(tmp_path)


def test_take_and_select_keep_rows_and_columns_together(tmp_path: Path) -> None:
    outcomes = Outcomes.load(write_set(tmp_path))
    flipped = outcomes.take(np.array([1, 0])).select(["large", "small"])
    assert flipped.query_ids == ("q2", "q1")
    assert flipped.candidates == ("large", "small")
    np.testing.assert_array_equal(flipped.correct, outcomes.correct[::-1, ::-1])
    assert outcomes.take(np.array([True, False])).query_ids == ("q1",)
    with pytest.raises(UsageError, match="no candidate 'huge'"):
        outcomes.select(["huge"])


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    outcomes = Outcomes.load(write_set(tmp_path))
    before = (tmp_path / "queries.jsonl").read_text()
    broken = Queries.build(["p"], extras=[{"level": object()}])
    with pytest.raises(TypeError):
        broken.save(tmp_path / "queries.jsonl")
    assert (tmp_path / "queries.jsonl").read_text() == before
    assert {path.name for path in tmp_path.iterdir()} == {"queries.jsonl", "outcomes.csv"}
    assert len(outcomes) == 2


def test_tables_of_unequal_shape_are_refused() -> None:
    with pytest.raises(UsageError, match="cost_usd has shape"):
        Outcomes.build(Queries.build(["p"]), ["a"], np.ones((1, 1)), cost_usd=np.ones((2, 1)))
    with pytest.raises(UsageError, match="'price'"):
        Outcomes.build(Queries.build(["p"]), ["a"], np.ones((1, 1)), price=np.ones((1, 1)))
    with pytest.raises(UsageError, match="same id"):
        Queries.build(["p", "q"], ids=["a", "a"])
