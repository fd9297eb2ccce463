"""Tables with a column a candidate: RouterBench and RouteLLM.

RouterBench (arXiv 2403.12031; as CSV or Parquet, its pickles are not read): ``sample_id``, ``prompt`` (a
Python list of turns), ``eval_name``, and for each candidate ``NAME`` (grade), ``NAME|model_response`` and
``NAME|total_cost`` (US dollars). RouteLLM (arXiv 2406.18665): ``prompt``, and for each candidate ``NAME``
(True or False) and perhaps ``NAME_response``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from eval.importers.answer import Answer, Options, Source, amount, share
from eval.importers.naming import name_of
from eval.importers.rows import need, rows_of
from probes.encoders.conversation import as_conversation

COST, RESPONSE = "|total_cost", "_response"


def read_routerbench(source: Source, options: Options) -> Iterator[Answer]:
    """Answers of one table; without a cost the cell is no answer."""
    for place, row in rows_of(source.path):
        names = [name.removesuffix(COST) for name in row if name.endswith(COST)]
        missing = [name for name in names if name not in row]
        if not names or missing:
            fix = "RouterBench has a column NAME and a column NAME|total_cost for each candidate."
            raise place.fail(missing[0] if missing else "NAME|total_cost", "missing", fix)
        query_id, dataset = need(row, "sample_id", place), str(row.get("eval_name") or "")
        conversation = as_conversation("\n\n".join(_turns(need(row, "prompt", place))))
        for name in names:
            if amount(row[name], place, name) is None:
                continue
            cost = amount(row[name + COST], place, name + COST)
            yield Answer(
                query_id=query_id,
                candidate=name,
                correct=share(row[name], place, name),
                conversation=conversation,
                place=place,
                dataset=dataset,
                measures={} if cost is None else {"cost_usd": cost},
            )


def read_routellm(source: Source, options: Options) -> Iterator[Answer]:
    """Answers of one table; its file's name is the data set."""
    dataset = source.path.name.split(".")[0].removesuffix("_responses")
    for place, row in rows_of(source.path):
        prompt = need(row, "prompt", place)
        names = [name for name in row if name not in {"prompt", ""} and not name.endswith(RESPONSE)]
        if not names:
            raise place.fail("NAME", "no candidate", "RouteLLM has a column of True and False a candidate.")
        for name in names:
            if not _empty(row[name]):
                yield Answer(
                    query_id=name_of(prompt, dataset),
                    candidate=name,
                    correct=share(row[name], place, name),
                    conversation=as_conversation(prompt),
                    place=place,
                    dataset=dataset,
                )


def _turns(prompt: str) -> list[str]:
    """The turns of a prompt that is written as a Python list; any other text is one turn."""
    if prompt.lstrip().startswith("["):
        try:
            value = ast.literal_eval(prompt)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return [prompt]
        if isinstance(value, list) and value and all(isinstance(turn, str) for turn in value):
            return value
    return [prompt]


def _empty(cell: Any) -> bool:
    return cell is None or not str(cell).strip()
