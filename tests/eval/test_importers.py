"""Other people's logs, in the shapes in which their tools write them."""

from __future__ import annotations

import csv
import gzip
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from eval.importers import Options, Source, assemble, import_answers
from eval.outcomes import Outcomes, Price
from probes.errors import DataError, UsageError
from router.cli.app import app


def lm_eval_row(doc_id: int, right: float, *, filter_: str = "strict-match", **more: Any) -> dict[str, Any]:
    """As lm-evaluation-harness 0.4 logs a generative task."""
    return {
        "doc_id": doc_id,
        "doc": {"question": f"What is {doc_id} + 1?", "answer": f"#### {doc_id + 1}"},
        "target": f"#### {doc_id + 1}",
        "arguments": {
            "gen_args_0": {
                "arg_0": f"Question: What is {doc_id} + 1?\nAnswer:",
                "arg_1": {"until": ["Question:"], "do_sample": False, "temperature": 0.0},
            }
        },
        "resps": [[f" It is {doc_id + 1}.\n#### {doc_id + 1}"]],
        "filtered_resps": [str(doc_id + 1)],
        "filter": filter_,
        "metrics": ["exact_match"],
        "doc_hash": f"{doc_id:064x}",
        "prompt_hash": "1" * 64,
        "target_hash": "2" * 64,
        "exact_match": right,
    } | more


def inspect_sample(number: int, value: Any, *, epoch: int = 1, **more: Any) -> dict[str, Any]:
    """As inspect_ai logs a sample."""
    return {
        "id": number,
        "epoch": epoch,
        "input": f"Is {number} even?",
        "target": "Yes",
        "messages": [
            {"id": "a", "content": "Answer Yes or No.", "role": "system"},
            {"id": "b", "content": "attachment://f00d", "source": "input", "role": "user"},
            {"id": "c", "content": "Yes", "source": "generate", "role": "assistant", "model": "small"},
        ],
        "output": {"model": "small", "choices": [], "usage": {"input_tokens": 9, "output_tokens": 9}},
        "scores": {"match": {"value": value, "answer": "Yes"}},
        "model_usage": {
            "openai/small": {"input_tokens": 60, "input_tokens_cache_read": 6, "output_tokens": 3},
            "openai/grader": {"input_tokens": 900, "output_tokens": 90},
        },
        "attachments": {"f00d": f"Is {number} even?"},
        "working_time": 1.5,
    } | more


HEADER = {"version": 2, "status": "success", "eval": {"task": "parity", "model": "openai/small"}}


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def write_zip(path: Path, samples: Sequence[Mapping[str, Any]], *, header: str = "header.json") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(header, json.dumps(HEADER))
        archive.writestr("summaries.json", "[]")
        for sample in samples:
            archive.writestr(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", json.dumps(sample))
    return path


def write_table(path: Path, header: Sequence[str], *rows: Sequence[Any]) -> Path:
    with path.open("w", newline="") as handle:
        csv.writer(handle).writerows([header, *rows])
    return path


def load(kind: str, *paths: Path | Source, average: bool = False, **options: Any) -> Outcomes:
    sources = [path if isinstance(path, Source) else Source(path) for path in paths]
    return assemble(import_answers(kind, sources, Options(**options)), average=average)


def test_lm_eval_samples_become_an_outcome_set(tmp_path: Path) -> None:
    for model, grades in (("org__large", (1.0, 1.0)), ("org__small", (1.0, 0.0))):
        rows = []
        for i, grade in enumerate(grades):
            rows += [lm_eval_row(i, grade), lm_eval_row(i, 0.0, filter_="flexible-extract")]
        write_lines(tmp_path / model / "samples_gsm8k_2026-01-05T10-11-12.345678.jsonl", rows)
    (tmp_path / "org__large" / "results_2026-01-05T10-11-12.345678.json").write_text(
        json.dumps({"model_name": "org/large-instruct"})
    )
    found = load("lm-eval", tmp_path)
    assert found.candidates == ("org/large-instruct", "org/small")
    assert found.query_ids == ("gsm8k/0", "gsm8k/1")
    assert found.correct.tolist() == [[1, 1], [1, 0]]
    assert found.conversations[0] == ({"role": "user", "content": "Question: What is 0 + 1?\nAnswer:"},)
    assert (found.datasets[0], found.references[0]) == ("gsm8k", "#### 1")
    assert load("lm-eval", tmp_path, filter="flexible-extract").correct.sum() == 0
    plain = load("lm-eval", tmp_path, prompt_field="question")
    assert plain.conversations[1][0]["content"] == "What is 1 + 1?"


def test_lm_eval_prompts_of_chat_models_and_of_older_versions(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Two?"}]
    chat = lm_eval_row(0, 1.0, arguments={"gen_args_0": {"arg_0": [json.dumps(messages)]}})
    old = lm_eval_row(1, 0.0, arguments=[["The sky is", " blue"], ["The sky is", " red"]], acc=1.0)
    del old["exact_match"], old["filter"]
    path = write_lines(tmp_path / "m" / "samples_sky.jsonl.gz", [chat, old | {"metrics": ["acc"]}])
    found = load("lm-eval", path)
    assert list(found.conversations[0]) == messages
    assert found.conversations[1][0]["content"] == "The sky is"
    assert found.correct.tolist() == [[1], [1]]


def test_inspect_logs_of_both_kinds_agree(tmp_path: Path) -> None:
    samples = [inspect_sample(1, "C"), inspect_sample(1, "I", epoch=2), inspect_sample(2, "P")]
    failed = inspect_sample(3, "C") | {"scores": {}, "error": {"message": "timeout"}}
    (tmp_path / "log.json").write_text(json.dumps(HEADER | {"samples": [*samples, failed]}))
    whole = load("inspect", tmp_path / "log.json")
    assert whole.candidates == ("openai/small",)
    assert whole.query_ids == ("parity/1", "parity/2")
    assert whole.correct[:, 0].tolist() == [0.5, 0.5]
    assert whole.samples[:, 0].tolist() == [2, 1]
    assert (whole.input_tokens[0, 0], whole.output_tokens[0, 0], whole.latency_s[0, 0]) == (66, 3, 1.5)
    assert [m["content"] for m in whole.conversations[1]] == ["Answer Yes or No.", "Is 2 even?"]
    zipped = load("inspect", write_zip(tmp_path / "log.eval", [*samples, failed]))
    assert zipped.queries == whole.queries
    np.testing.assert_array_equal(zipped.correct, whole.correct)
    started = write_zip(tmp_path / "running.eval", samples, header="_journal/start.json")
    assert load("inspect", Source(started, "mine")).candidates == ("mine",)


def test_inspect_scores_of_several_values_need_a_name(tmp_path: Path) -> None:
    sample = inspect_sample(1, {"exact": 1.0, "style": 0.25})
    path = write_zip(tmp_path / "log.eval", [sample])
    with pytest.raises(DataError, match=r"scores.match.value.*holds several") as caught:
        load("inspect", path)
    assert "match/KEY" in str(caught.value.hint)
    assert load("inspect", path, metric="match/style").correct.tolist() == [[0.25]]


ROUTERBENCH = ("sample_id", "prompt", "eval_name", "gpt-4", "mixtral", "gpt-4|model_response")
COSTS = ("mixtral|model_response", "gpt-4|total_cost", "mixtral|total_cost", "oracle_model_to_route_to")


def test_routerbench_tables_of_both_kinds_agree(tmp_path: Path) -> None:
    rows = [
        ("mbpp.dev.1", "['Write a function.']", "mbpp", 1.0, 0.0, "['def']", "['?']", 0.00074, 2e-5, "gpt-4"),
        ("mt.2", "['First.', 'Then.']", "mtbench", 0.9, 0.5, "[]", "[]", 0.001, 3e-5, "gpt-4"),
    ]
    found = load("routerbench", write_table(tmp_path / "rb.csv", ROUTERBENCH + COSTS, *rows))
    assert found.candidates == ("gpt-4", "mixtral")
    assert found.correct.tolist() == [[1, 0], [0.9, 0.5]]
    assert found.cost_usd[0].tolist() == [0.00074, 2e-5]
    assert found.conversations[1][0]["content"] == "First.\n\nThen."
    polars = pytest.importorskip("polars")
    polars.read_csv(tmp_path / "rb.csv").write_parquet(tmp_path / "rb.parquet")
    again = load("routerbench", tmp_path / "rb.parquet")
    np.testing.assert_array_equal(again.correct, found.correct)
    with pytest.raises(DataError, match="pickle can run code"):
        load("routerbench", write_lines(tmp_path / "rb.pkl", []))


def test_routellm_tables(tmp_path: Path) -> None:
    header = ("prompt", "mixtral", "gpt-4", "mixtral_response", "gpt-4_response")
    path = write_table(
        tmp_path / "gsm8k_responses.csv",
        header,
        ("Janet’s ducks,\nhow many?", "True", "True", "18", "18"),
        ("A robe?", "False", "True", "", "3"),
    )
    found = load("routellm", path)
    assert found.candidates == ("mixtral", "gpt-4")
    assert found.correct.tolist() == [[1, 1], [0, 1]]
    assert set(found.datasets) == {"gsm8k"}


def test_a_strangers_csv_needs_a_prompt_a_model_and_a_grade(tmp_path: Path) -> None:
    header = ("question", "engine", "score", "prompt_tokens", "completion_tokens", "task")
    path = write_table(
        tmp_path / "answers.csv",
        header,
        ("What, now?", "a", "yes", 100, 10, "x"),
        ("What, now?", "b", "0", 100, 20, "x"),
        ("Then?", "a", "0.5", 50, "", "y"),
    )
    prices = {"a": Price(1.0, 2.0)}
    found = assemble(import_answers("csv", [Source(path)]), prices=prices)
    assert found.candidates == ("a", "b")
    assert found.correct[0].tolist() == [1, 0]
    assert np.isnan(found.correct[1, 1])
    assert found.cost_usd[0, 0] == pytest.approx(120e-6)
    assert np.isnan(found.cost_usd[0, 1])
    assert found.datasets == ("x", "y")
    renamed = write_table(tmp_path / "odd.csv", ("text", "who", "ok"), ("Hm?", "a", 1))
    columns = {"prompt": "text", "model": "who", "correct": "ok"}
    assert load("csv", renamed, columns=columns).correct.tolist() == [[1]]
    with pytest.raises(UsageError, match="no column 'answer'"):
        load("csv", renamed, columns={"answer": "text"})


BAD_CSV = {
    "a grade above one": ("p,a,2", r"line 2, field 'correct': 2 is outside"),
    "a grade below zero": ("p,a,-1", r"line 2, field 'correct': -1 is outside"),
    "a grade of words": ("p,a,fine", r"line 2, field 'correct': 'fine' is no grade"),
    "not a number": ("p,a,nan", r"line 2, field 'correct': nan is outside"),
    "no grade": ("p,a,", r"line 2, field 'correct': the cell is empty"),
    "no prompt": (",a,1", r"line 2, field 'prompt': the cell is empty"),
    "no model": ("p,,1", r"line 2, field 'model': the cell is empty"),
    "too few cells": ("p,a", r"line 2: 2 cells, but the header names 3"),
    "an answer twice": ("p,a,1\np,a,1", r"line 3, field 'query_id': 'a' has answered .* in .*line 2"),
}


@pytest.mark.parametrize(("body", "message"), BAD_CSV.values(), ids=BAD_CSV)
def test_a_wrong_row_is_named(tmp_path: Path, body: str, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(f"prompt,model,correct\n{body}\n")
    with pytest.raises(DataError, match=message):
        load("csv", path)


def test_repeated_answers_are_draws_when_asked_for(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", ("prompt", "model", "correct"), ("p", "a", 1), ("p", "a", 0))
    found = load("csv", path, average=True)
    assert (found.correct.item(), found.samples.item()) == (0.5, 2)


def test_two_versions_of_a_question_are_not_mixed(tmp_path: Path) -> None:
    for model, digest in (("a", "0"), ("b", "1")):
        row = lm_eval_row(0, 1.0, doc_hash=digest * 64)
        write_lines(tmp_path / model / "samples_t_2026-01-05T10-11-12.1.jsonl", [row])
    with pytest.raises(DataError, match="another one than in"):
        load("lm-eval", tmp_path)


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no kind 'helm'"):
        import_answers("helm", [])
    with pytest.raises(DataError, match="does not exist"):
        load("csv", tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"holds no samples_"):
        load("lm-eval", tmp_path)
    with pytest.raises(DataError, match=r"line 1, field 'doc_id': missing"):
        load("lm-eval", write_lines(tmp_path / "samples_x.jsonl", [{"a": 1}]))
    row = lm_eval_row(0, 1.0, metrics=[])
    del row["exact_match"]
    unscored = write_lines(tmp_path / "samples_y.jsonl", [row])
    with pytest.raises(DataError, match="no metric among"):
        load("lm-eval", unscored)
    (tmp_path / "cut.json").write_text('{"version": 2, "eval"')
    with pytest.raises(DataError, match="not valid JSON"):
        load("inspect", tmp_path / "cut.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(DataError, match=r"eval.model.*missing"):
        load("inspect", tmp_path / "other.json")
    (tmp_path / "empty.csv").write_text("prompt,model,correct\n")
    with pytest.raises(DataError, match="no graded answers"):
        load("csv", tmp_path / "empty.csv")


def test_the_command_writes_a_set_that_evaluate_reads(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        (f"Question {i} {'hard' * (i % 3)}", model, int(rng.random() < chance), cost)
        for i in range(60)
        for model, chance, cost in (("small", 0.5, 0.001), ("large", 0.9, 0.01))
    ]
    path = write_table(tmp_path / "answers.csv", ("prompt", "model", "correct", "cost_usd"), *rows)
    done = CliRunner().invoke(app, ["import", "csv", str(path), "-o", str(tmp_path / "set"), "--json"])
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert (summary["queries"], summary["answers"]) == (60, 120)
    assert summary["coverage"] == {"small": 1.0, "large": 1.0}
    report = tmp_path / "report.html"
    words = ["evaluate", str(path), "--seeds", "1", "--routers", "length", "--report", str(report)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "too wide" in done.stdout  # sixty questions: the interval is useless, and the table says so
    assert "<svg" in report.read_text()


def test_the_command_names_what_is_wrong_and_writes_nothing(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", ("prompt", "model", "correct"), ("p", "a", 7))
    done = CliRunner().invoke(app, ["import", "csv", str(path), "-o", str(tmp_path / "set")])
    assert done.exit_code == 2
    assert not (tmp_path / "set").exists()
