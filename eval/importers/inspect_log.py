"""inspect_ai logs: ``.json``, one document, and ``.eval``, a zip with one document a sample.

Read without inspect_ai. A zip's samples are read one after the other; a JSON log is read whole.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

from eval.importers.answer import Answer, Options, Place, Source, amount, share
from eval.tables import reading
from probes.encoders.conversation import Conversation, as_conversation
from probes.errors import DataError, UsageError

LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
"""Correct, partial, incorrect, no answer: inspect_ai's ``value_to_float``."""
ATTACHMENT = "attachment://"
_HEADERS = ("header.json", "_journal/start.json")


def read_inspect_log(source: Source, options: Options) -> Iterator[Answer]:
    """Answers of one log; epochs are draws, samples that ended in an error are no answers."""
    header, samples = _zip(source) if zipfile.is_zipfile(source.path) else _json(source)
    about = header.get("eval")
    if not isinstance(about, dict) or not isinstance(about.get("model"), str):
        raise Place(source.path, "header").fail("eval.model", "missing", "Give a log that inspect_ai wrote.")
    task = str(about.get("task") or source.path.stem)
    candidate = source.candidate or str(about["model"])
    for place, sample in samples:
        if sample.get("error") is not None and not sample.get("scores"):
            continue
        if sample.get("id") is None:
            raise place.fail("id", "missing", "Give a log that inspect_ai wrote.")
        yield Answer(
            query_id=f"{task}/{sample['id']}",
            candidate=candidate,
            correct=_grade(sample, options.metric, place),
            conversation=_conversation(sample, place),
            place=place,
            draw=str(sample.get("epoch", 1)),
            dataset=task,
            reference=_reference(sample.get("target")),
            measures=_measures(sample, str(about["model"]), place),
        )


Samples = Iterator[tuple[Place, dict[str, Any]]]


def _json(source: Source) -> tuple[dict[str, Any], Samples]:
    with reading(source.path) as handle:
        log = _parsed(handle.read(), Place(source.path, "document"))
    samples = log.get("samples") or []
    if not isinstance(samples, list):
        raise Place(source.path, "document").fail("samples", "not a list", "Give a log of inspect_ai.")
    numbered = ((Place(source.path, f"sample {i}"), _object(s, source, i)) for i, s in enumerate(samples, 1))
    return log, numbered


def _object(value: Any, source: Source, number: int) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise Place(source.path, f"sample {number}").fail("samples", "not an object", "Give a log of inspect_ai.")


def _zip(source: Source) -> tuple[dict[str, Any], Samples]:
    try:
        with zipfile.ZipFile(source.path) as archive:
            names = set(archive.namelist())
            header = next((name for name in _HEADERS if name in names), None)
            if header is None:
                raise DataError(f"{source.path}: no header.json inside.", hint="Give a log of inspect_ai.")
            text = archive.read(header).decode("utf-8")
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, OSError) as error:
        raise _unreadable(source, error) from error
    return _parsed(text, Place(source.path, header)), _entries(source)


def _entries(source: Source) -> Samples:
    with zipfile.ZipFile(source.path) as archive:
        for name in archive.namelist():
            if not (name.startswith("samples/") and name.endswith(".json")):
                continue
            place = Place(source.path, f"entry {name}")
            try:
                text = archive.read(name).decode("utf-8")
            except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, OSError) as error:
                raise _unreadable(source, error) from error
            yield place, _parsed(text, place)


def _unreadable(source: Source, error: Exception) -> DataError:
    hint = "Copy the file again, or convert it: inspect log convert --to json."
    return DataError(f"{source.path}: cannot be read ({error}).", hint=hint)


def _parsed(text: str, place: Place) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        message = f"{place}: not valid JSON ({error.msg} at line {error.lineno})."
        raise DataError(message, hint="Copy the file again.") from error
    if not isinstance(value, dict):
        raise DataError(f"{place}: an object was expected.", hint="Give a log of inspect_ai.")
    return value


def _grade(sample: Mapping[str, Any], metric: str | None, place: Place) -> float:
    scores = sample.get("scores") or {}
    if not isinstance(scores, dict) or not scores:
        raise place.fail("scores", "the sample has none", "Score the log first: inspect score.")
    name, _, key = (metric or next(iter(scores))).partition("/")
    if name not in scores or not isinstance(scores[name], dict):
        raise place.fail(f"scores.{name}", "missing", f"Name a scorer with --metric: {', '.join(scores)}.")
    value = scores[name].get("value")
    if isinstance(value, dict):
        if key not in value:
            fix = f"Name one with --metric {name}/KEY: {', '.join(map(str, value))}."
            raise place.fail(f"scores.{name}.value", "holds several values", fix)
        value = value[key]
    if isinstance(value, str) and value in LETTERS:
        return LETTERS[value]
    return share(value, place, f"scores.{name}.value")


def _conversation(sample: Mapping[str, Any], place: Place) -> Conversation:
    """What was sent: the messages before the first answer; without messages, the input."""
    attachments = sample.get("attachments") or {}
    asked: list[dict[str, Any]] = []
    for message in sample.get("messages") or ():
        if not isinstance(message, dict) or message.get("role") == "assistant":
            break
        asked.append({"role": message.get("role"), "content": _content(message.get("content"), attachments)})
    source = sample.get("input")
    if not asked and isinstance(source, list):
        kept = [m for m in source if isinstance(m, dict)]
        asked = [{"role": m.get("role"), "content": _content(m.get("content"), attachments)} for m in kept]
    try:
        return as_conversation(asked or _content(source, attachments))
    except UsageError as error:
        raise place.fail("input", error.message, "Give a log with its messages or input.") from error


def _content(content: Any, attachments: Mapping[str, Any]) -> Any:
    if isinstance(content, str) and content.startswith(ATTACHMENT):
        return attachments.get(content.removeprefix(ATTACHMENT), content)
    if isinstance(content, list):
        texts = [part.get("text", f"[{part.get('type')}]") for part in content if isinstance(part, dict)]
        return "\n".join(str(_content(text, attachments)) for text in texts)
    return content


def _reference(target: Any) -> str | None:
    if isinstance(target, list):
        return " | ".join(map(str, target)) or None
    return None if target is None else str(target)


def _measures(sample: Mapping[str, Any], model: str, place: Place) -> dict[str, float]:
    usage = (sample.get("model_usage") or {}).get(model) or (sample.get("output") or {}).get("usage") or {}
    parts = [
        usage.get(name) for name in ("input_tokens", "input_tokens_cache_read", "input_tokens_cache_write")
    ]
    values = {
        "input_tokens": None if parts[0] is None else sum(part or 0 for part in parts),
        "output_tokens": usage.get("output_tokens"),
        "cost_usd": usage.get("total_cost"),
        "latency_s": sample.get("working_time") or (sample.get("output") or {}).get("time"),
    }
    checked = {name: amount(value, place, name) for name, value in values.items()}
    return {name: value for name, value in checked.items() if value is not None}
