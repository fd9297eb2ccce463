"""The questions of an outcome set: ``queries.jsonl[.gz]``.

One JSON object a line: ``query_id``, ``prompt`` (text) or ``messages`` (a conversation), and optionally
``dataset``, ``group``, ``reference`` and fields of one's own, which are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval.tables import read_json_lines, write_json_lines
from probes.encoders.conversation import Conversation, as_conversation
from probes.errors import DataError, UsageError

_FIELDS = frozenset({"query_id", "prompt", "messages", "dataset", "group", "reference"})


@dataclass(frozen=True)
class Queries:
    """The questions of an outcome set, n of them.

    Attributes
    ----------
    ids : tuple of str
        Unique names.
    conversations : tuple of Conversation
        Chat messages; a bare prompt is one user message.
    datasets : tuple of str
        Where each question comes from; ``""`` when the set does not say.
    groups : tuple of str
        Questions of one group never part in a split; the question itself by default.
    references : tuple of str or None
        The right answers.
    extras : tuple of mapping
        Every other field of ``queries.jsonl``.
    """

    ids: tuple[str, ...]
    conversations: tuple[Conversation, ...]
    datasets: tuple[str, ...]
    groups: tuple[str, ...]
    references: tuple[str | None, ...]
    extras: tuple[Mapping[str, Any], ...]

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def build(
        cls,
        prompts: Sequence[str | Conversation],
        *,
        ids: Sequence[str] | None = None,
        datasets: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
        references: Sequence[str | None] | None = None,
        extras: Sequence[Mapping[str, Any]] | None = None,
    ) -> Queries:
        """Queries from prompts or conversations; ids count from ``q0``, the rest is empty by default."""
        n = len(prompts)
        names = tuple(ids) if ids is not None else tuple(f"q{i}" for i in range(n))
        return cls(
            names,
            tuple(tuple(as_conversation(prompt)) for prompt in prompts),
            tuple(datasets) if datasets is not None else ("",) * n,
            tuple(groups) if groups is not None else names,
            tuple(references) if references is not None else (None,) * n,
            tuple(extras) if extras is not None else ({},) * n,
        )

    def __post_init__(self) -> None:
        """Refuse columns of unequal length and repeated ids."""
        columns = (self.conversations, self.datasets, self.groups, self.references, self.extras)
        if any(len(column) != len(self.ids) for column in columns):
            raise UsageError(f"Every column of queries must have {len(self.ids)} entries.", param="queries")
        if len(set(self.ids)) != len(self.ids):
            raise UsageError("Two queries have the same id.", param="query_id")

    @classmethod
    def load(cls, path: Path) -> Queries:
        """Read ``queries.jsonl[.gz]``.

        Raises
        ------
        DataError
            Naming file, line and field: no JSON, no or repeated query_id, no prompt, malformed messages.
        """
        lines: dict[str, int] = {}
        rows: list[tuple[Conversation, str, str, str | None, dict[str, Any]]] = []
        for line, raw in read_json_lines(path):
            query_id = _query_id(path, line, raw)
            if query_id in lines:
                first = lines[query_id]
                raise DataError(
                    f"{path}, line {line}, field 'query_id': {query_id!r} stands on line {first} too.",
                    param="query_id",
                    hint="Give every query its own query_id.",
                )
            lines[query_id] = line
            dataset, group = (_label(path, line, raw, name) for name in ("dataset", "group"))
            extras = {name: value for name, value in raw.items() if name not in _FIELDS}
            row = (_conversation(path, line, raw), dataset, group or query_id, _reference(raw), extras)
            rows.append(row)
        if not rows:
            raise DataError(f"{path}: there are no queries.", hint="Write one JSON object a line.")
        conversations, datasets, groups, references, extras_ = zip(*rows, strict=True)
        return cls(tuple(lines), conversations, datasets, groups, references, extras_)

    def save(self, path: Path) -> None:
        """Write ``queries.jsonl[.gz]`` atomically."""
        write_json_lines(path, (self._row(i) for i in range(len(self))))

    def _row(self, i: int) -> dict[str, Any]:
        row: dict[str, Any] = {"query_id": self.ids[i]}
        conversation = [dict(message) for message in self.conversations[i]]
        plain = len(conversation) == 1 and conversation[0].keys() == {"role", "content"}
        if plain and conversation[0]["role"] == "user" and isinstance(conversation[0]["content"], str):
            row["prompt"] = conversation[0]["content"]
        else:
            row["messages"] = conversation
        if self.datasets[i]:
            row["dataset"] = self.datasets[i]
        if self.groups[i] != self.ids[i]:
            row["group"] = self.groups[i]
        if self.references[i] is not None:
            row["reference"] = self.references[i]
        return row | dict(self.extras[i])

    def take(self, index: np.ndarray[Any, Any]) -> Queries:
        """The queries at these positions, in this order."""
        positions = index.tolist()

        def pick(values: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(values[i] for i in positions)

        return Queries(
            pick(self.ids),
            pick(self.conversations),
            pick(self.datasets),
            pick(self.groups),
            pick(self.references),
            pick(self.extras),
        )


def _query_id(path: Path, line: int, raw: Mapping[str, Any]) -> str:
    value = raw.get("query_id")
    if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value).strip():
        raise DataError(
            f"{path}, line {line}, field 'query_id': {'missing' if value is None else 'not a name'}.",
            param="query_id",
            hint="Give every query a non-empty query_id.",
        )
    return str(value)


def _label(path: Path, line: int, raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise DataError(f"{path}, line {line}, field '{name}': a name was expected.", param=name)
    return str(value)


def _conversation(path: Path, line: int, raw: Mapping[str, Any]) -> Conversation:
    field_name = "messages" if raw.get("messages") is not None else "prompt"
    if raw.get(field_name) is None:
        raise DataError(
            f"{path}, line {line}: neither 'prompt' nor 'messages'.",
            param="prompt",
            hint="Give the query a prompt (text) or messages (a list of {role, content}).",
        )
    try:
        return tuple(as_conversation(raw[field_name]))
    except UsageError as exc:
        raise DataError(f"{path}, line {line}: {exc.message}", param=exc.param or field_name) from exc


def _reference(raw: Mapping[str, Any]) -> str | None:
    value = raw.get("reference")
    return value if value is None or isinstance(value, str) else str(value)
