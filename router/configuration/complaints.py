"""Pydantic's complaints in plain words: one sentence that names the field, its value and the likely fix."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from probes.errors import ConfigError

MAX_VALUE = 60
"""Characters of a value that a message shows."""


def config_error(model: type[BaseModel], error: ValidationError, source: str) -> ConfigError:
    """The first of pydantic's complaints as a `ConfigError`; how many more there are is said at its end."""
    problems = error.errors(include_url=False)
    # A list whose only item is wrong also counts as too short; a typo also leaves a field missing.
    problems = [p for p in problems if p["type"] != "too_short"] or problems
    first = min(problems, key=lambda p: p["type"] != "extra_forbidden")
    param = ".".join(filter(None, (dotted(model, first["loc"]), _inner_field(first))))
    message, hint = _explain(model, first)
    more = f" ({len(problems) - 1} more like this)" if len(problems) > 1 else ""
    where = f"{source}: {param}: " if param else f"{source}: "
    return ConfigError(f"{where}{message}.{more}", param=param or None, hint=hint)


def closest(word: str, known: Iterable[str]) -> str | None:
    """``Did you mean …?`` for the most similar known word, if any is similar."""
    matches = get_close_matches(word, list(known), n=1)
    return f"Did you mean {matches[0]}?" if matches else None


def dotted(model: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    """A field's place as the file's author would write it, such as ``candidates[0].price``."""
    text = ""
    for part, current in zip(loc, _walk(model, loc), strict=True):
        if current is not None:  # None: the tag of a union, which is no level of the file
            text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _explain(model: type[BaseModel], problem: ErrorDetails) -> tuple[str, str | None]:
    """Message and hint for one complaint."""
    kind, value = problem["type"], _shown(problem["input"])
    if kind == "extra_forbidden":
        known = _fields(list(_walk(model, problem["loc"]))[-1])
        hint = closest(str(problem["loc"][-1]), known) or f"Known here: {', '.join(known)}."
        return f"there is no such field (its value is {value})", hint
    if kind == "missing":
        return "this field is missing", "`foresight init` writes a pool file with every field explained."
    if kind in ("literal_error", "union_tag_invalid"):
        context = problem["ctx"]
        expected = re.findall(r"'([^']+)'", str(context.get("expected_tags", context.get("expected"))))
        given = str(context.get("tag", problem["input"]))
        return f"{given!r} is not known here (known: {', '.join(expected)})", closest(given, expected)
    if kind == "union_tag_not_found":
        return "this field is missing", "Add kind: vllm, openai or local."
    if kind == "reference":
        context = problem["ctx"]
        return problem["msg"], closest(context.get("given", ""), context.get("known", ()))
    message = problem["msg"].removeprefix("Input ").replace("tuple", "list").replace("Tuple", "list")
    return f"{message}, not {value}", None


def reference_error(
    field: str, message: str, given: str = "", known: Iterable[str] = ()
) -> PydanticCustomError:
    """For validators of a whole file: `message` about `field`, with the names that would have been right."""
    context = {"field": field, "message": message, "given": given, "known": list(known)}
    return PydanticCustomError("reference", "{message}", context)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"


def _inner_field(problem: ErrorDetails) -> str | None:
    """The field that a validator of a whole object complains about."""
    return "kind" if problem["type"].startswith("union_tag") else problem.get("ctx", {}).get("field")


def _fields(annotation: Any) -> list[str]:
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return list(annotation.model_fields) if is_model else []


def _walk(model: type[BaseModel], loc: tuple[int | str, ...]) -> Iterable[Any]:
    """For each part of a place, the type that holds it; None where the part is a union's tag."""
    current: Any = model
    for part in loc:
        members = [a for a in map(_plain, _members(current)) if a is not type(None)]
        if len(members) > 1:
            tagged = [m for m in members if isinstance(m, type) and part in _tags(m)]
            if tagged:
                current = tagged[0]
                yield None
                continue
        current = members[0] if members else None
        yield current if current is not None else Any
        current = _below(current, part)


def _members(annotation: Any) -> tuple[Any, ...]:
    annotation = _plain(annotation)
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _plain(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    field = model.model_fields.get("kind") if issubclass(model, BaseModel) else None
    return get_args(field.annotation) if field else ()


def _below(holder: Any, part: int | str) -> Any:
    """The type of one part of what `holder` describes."""
    if isinstance(holder, type) and issubclass(holder, BaseModel):
        field = holder.model_fields.get(str(part))
        return field.annotation if field else None
    arguments = get_args(holder)
    return (arguments[-1] if get_origin(holder) is dict else arguments[0]) if arguments else None
