"""lm-evaluation-harness: ``samples_TASK_DATE.jsonl``, one line a question (and filter).

A line has ``doc_id``, ``doc``, ``target``, ``arguments`` (``{"gen_args_0": {"arg_0": prompt, …}}``, in older
versions ``[[prompt, …]]``), ``filter`` and ``metrics``, the names of the metrics that stand beside them. The
candidate's name stands in ``results_*.json`` in the same folder, which the harness names after the model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eval.importers.answer import Answer, Options, Place, Source, share
from eval.tables import read_json_lines
from probes.encoders.conversation import Conversation, as_conversation
from probes.errors import UsageError

USUAL = ("exact_match", "acc", "pass@1", "pass_at_1", "em", "prompt_level_strict_acc")
"""Metrics that mean "right", the first that is there counts."""
_NAME = re.compile(r"samples_(?P<task>.+?)(?:_\d{4}-\d\d-\d\dT[\d.:-]+)?\.jsonl(?:\.gz)?")


def read_lm_eval(source: Source, options: Options) -> Iterator[Answer]:
    """Answers of one file; of several filters the asked one, or the file's first."""
    path = source.path
    matched = _NAME.fullmatch(path.name)
    task = matched["task"] if matched else path.name.split(".")[0]
    candidate = source.candidate or _candidate(path)
    wanted, any_row = options.filter, False
    for line, row in read_json_lines(path):
        place = Place(path, f"line {line}")
        if "doc_id" not in row:
            raise place.fail("doc_id", "missing", "Give files that `lm_eval --log_samples` wrote.")
        given = row.get("filter")
        if wanted is None and given is not None:
            wanted = str(given)
        if given is not None and given != wanted:
            continue
        any_row = True
        yield Answer(
            query_id=f"{task}/{row['doc_id']}",
            candidate=candidate,
            correct=_grade(row, options.metric, place),
            conversation=_conversation(row, options.prompt_field, place),
            place=place,
            dataset=task,
            reference=_text(row.get("target")),
            version=row.get("doc_hash"),
        )
    if not any_row and options.filter is not None:
        raise Place(path, "all lines").fail("filter", f"none is {options.filter!r}", "Leave out --filter.")


def _candidate(path: Path) -> str:
    for results in sorted(path.parent.glob("results_*.json"), reverse=True):
        try:
            found = json.loads(results.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        name = found.get("model_name") if isinstance(found, dict) else None
        if isinstance(name, str) and name.strip():
            return name
    # The harness writes org/model as org__model.
    return path.resolve().parent.name.replace("__", "/")


def _grade(row: dict[str, Any], metric: str | None, place: Place) -> float:
    listed = [str(name) for name in row.get("metrics") or ()]
    if metric is None:
        known = [name for name in USUAL if name in row] or [name for name in listed if name in row]
        if not known:
            fix = "Name the field that says right or wrong with --metric."
            raise place.fail("metrics", f"no metric among {', '.join(row)}", fix)
        metric = known[0]
    if metric not in row:
        fix = f"Choose from: {', '.join(listed) or ', '.join(row)}."
        raise place.fail(metric, "missing", fix)
    return share(row[metric], place, metric)


def _conversation(row: dict[str, Any], field: str | None, place: Place) -> Conversation:
    if field is not None:
        doc = row.get("doc")
        if not isinstance(doc, dict) or not isinstance(doc.get(field), str):
            found = ", ".join(doc) if isinstance(doc, dict) else "no doc"
            raise place.fail(f"doc.{field}", "no text", f"--prompt-field must be a field of doc ({found}).")
        return _checked(doc[field], place, f"doc.{field}")
    sent = _sent(row.get("arguments"))
    if not isinstance(sent, str) or not sent.strip():
        fix = "Name the field of doc that holds the question with --prompt-field."
        raise place.fail("arguments", "no prompt", fix)
    if sent.startswith('[{"'):
        try:
            return _checked(json.loads(sent), place, "arguments")
        except json.JSONDecodeError:
            pass  # a prompt that only looks like messages
    return _checked(sent, place, "arguments")


def _sent(arguments: Any) -> Any:
    """The first request's prompt, through whatever the harness's versions wrap around it."""
    value = arguments
    if isinstance(value, dict):
        value = next(iter(value.values()), None)
    if isinstance(value, dict):
        value = value.get("arg_0")
    while isinstance(value, list) and value:
        value = value[0]
    return value


def _checked(prompt: Any, place: Place, name: str) -> Conversation:
    try:
        return as_conversation(prompt)
    except UsageError as error:
        raise place.fail(name, error.message, "Name another field with --prompt-field.") from error


def _text(value: Any) -> str | None:
    return None if value is None else value if isinstance(value, str) else json.dumps(value)
