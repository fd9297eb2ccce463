"""Anybody's CSV of graded answers: one row an answer.

Needed are a prompt, who answered, and whether that was right; everything else of an outcome set is read
where it is there. Common names of these columns are known, others are named with ``--columns``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from eval.importers.answer import Answer, Options, Place, Source, amount, share
from eval.importers.naming import name_of
from eval.importers.rows import need, rows_of
from eval.outcomes import MEASURES
from probes.encoders.conversation import as_conversation
from probes.errors import UsageError

SYNONYMS: dict[str, tuple[str, ...]] = {
    "prompt": ("question", "input", "query", "instruction"),
    "model": ("candidate", "model_name", "engine"),
    "correct": ("score", "is_correct", "accuracy", "grade", "label"),
    "query_id": ("question_id", "id", "sample_id", "prompt_id"),
    "dataset": ("task", "benchmark", "eval_name", "source"),
    "reference": ("target", "gold"),
    "group": (),
    "samples": ("n_samples",),
    "input_tokens": ("prompt_tokens", "tokens_in"),
    "output_tokens": ("completion_tokens", "tokens_out"),
    "cost_usd": ("cost", "total_cost"),
    "latency_s": ("latency", "seconds"),
}
"""Names that a column goes by besides its own, the first that is there counts."""


def read_graded_csv(source: Source, options: Options) -> Iterator[Answer]:
    """Answers of one file."""
    names: Mapping[str, str] | None = None
    for place, row in rows_of(source.path):
        names = names or _names(row, options.columns, place)
        yield _answer(row, names, source, options, place)


def _names(row: Mapping[str, Any], told: Mapping[str, str], place: Place) -> dict[str, str]:
    """The file's name of each column that it has."""
    for ours, theirs in told.items():
        if ours not in SYNONYMS:
            known = ", ".join(SYNONYMS)
            raise UsageError(
                f"An outcome set has no column {ours!r}.", param="columns", hint=f"One of: {known}."
            )
        if theirs not in row:
            raise place.fail(theirs, f"missing (found: {', '.join(row)})", "Correct --columns.")
    found = {ours: next((n for n in (ours, *more) if n in row), None) for ours, more in SYNONYMS.items()}
    return {ours: name for ours, name in (found | dict(told)).items() if name is not None}


def _answer(
    row: dict[str, Any], names: Mapping[str, str], source: Source, options: Options, place: Place
) -> Answer:
    prompt = need(row, names.get("prompt", "prompt"), place)
    metric = options.metric or names.get("correct", "correct")

    def optional(name: str) -> str | None:
        value = row.get(names.get(name, ""))
        return str(value) if value is not None and str(value).strip() else None

    checked = {name: amount(row.get(names.get(name, "")), place, name) for name in MEASURES}
    if checked["samples"] is not None and checked["samples"] < 1:
        raise place.fail("samples", "fewer than one draw", "Leave the row out when nothing was drawn.")
    need(row, metric, place)
    return Answer(
        query_id=optional("query_id") or name_of(prompt),
        candidate=source.candidate or need(row, names.get("model", "model"), place),
        correct=share(row[metric], place, metric),
        conversation=as_conversation(prompt),
        place=place,
        dataset=optional("dataset"),
        group=optional("group"),
        reference=optional("reference"),
        measures={name: value for name, value in checked.items() if value is not None},
        version=name_of(prompt),
    )
