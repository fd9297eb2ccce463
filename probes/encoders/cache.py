"""Activations that were read once: kept on disk under a name that is made of what was read.

A folder for each scout fingerprint, arithmetic and longest prompt holds shards, safetensors files with the
activations of some queries and the queries' keys in their metadata. A shard is written under a temporary name
and moved into place, so what is there is complete; two processes may share a cache.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from probes.encoders.conversation import Conversation, Tools
from probes.encoders.encoder import Activations, Encoder, Progress
from probes.files import whole_file


class RenderingEncoder(Encoder, Protocol):
    """An encoder that says which tokens it reads, and how."""

    @property
    def reading(self) -> Mapping[str, str | int | None]:
        """What else than its identity decides the numbers: ``dtype`` and ``max_tokens``."""
        ...

    def render(self, conversation: Conversation, tools: Tools | None = None) -> list[int]:
        """Token ids of a prompt."""
        ...


class _Place(NamedTuple):
    shard: Path
    row: int


class ActivationCache:
    """Encodes each prompt at most once.

    Parameters
    ----------
    folder
        Made when it is first written to.
    shard_queries
        Queries encoded between two writes; work up to the last write survives an interruption.
    """

    def __init__(self, folder: str | Path, *, shard_queries: int = 1024) -> None:
        self.folder = Path(folder)
        self.shard_queries = shard_queries

    def encode(
        self,
        encoder: RenderingEncoder,
        conversations: Sequence[Conversation],
        *,
        tools: Tools | None = None,
        progress: Progress | None = None,
    ) -> Activations:
        """Activations of n conversations: from disk where they are there, else from the encoder.

        Parameters
        ----------
        encoder
            Asked for what is missing only.
        conversations, tools, progress
            As for `Encoder.encode`.
        """
        shelf = self.folder / _shelf(encoder)
        keys = [_key(encoder.render(conversation, tools)) for conversation in conversations]
        known = _index(shelf)
        todo = list({key: i for i, key in enumerate(keys) if key not in known}.values())
        for start in range(0, len(todo), self.shard_queries):
            rows = todo[start : start + self.shard_queries]
            fresh = encoder.encode([conversations[i] for i in rows], tools=tools)
            shard = _write(shelf, [keys[i] for i in rows], fresh)
            known |= {keys[i]: _Place(shard, row) for row, i in enumerate(rows)}
            if progress is not None:
                progress(len(keys) - len(todo) + start + len(rows), len(keys))
        return _read(keys, known, encoder)


def _shelf(encoder: RenderingEncoder) -> str:
    """sha256 of which scout reads, in which arithmetic, and where it cuts."""
    reading = json.dumps(dict(encoder.reading), sort_keys=True)
    return hashlib.sha256(f"{encoder.identity.fingerprint}\0{reading}".encode()).hexdigest()


def _key(ids: Sequence[int]) -> str:
    return hashlib.sha256(np.asarray(ids, dtype="<i8").tobytes()).hexdigest()


def _index(shelf: Path) -> dict[str, _Place]:
    """Where each known prompt lies; a damaged shard counts as not there."""
    places: dict[str, _Place] = {}
    for shard in sorted(shelf.glob("*.safetensors")):
        try:
            with safe_open(shard, framework="numpy") as file:
                keys = json.loads(file.metadata()["keys"])
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):
            continue
        places |= {key: _Place(shard, row) for row, key in enumerate(keys)}
    return places


def _write(shelf: Path, keys: list[str], activations: Activations) -> Path:
    shelf.mkdir(parents=True, exist_ok=True)
    target = shelf / f"{hashlib.sha256(''.join(keys).encode()).hexdigest()[:32]}.safetensors"
    tensors: dict[str, npt.NDArray[Any]] = {"values": activations.values, "n_tokens": activations.n_tokens}
    with whole_file(target) as fresh:
        save_file(tensors, fresh, metadata={"keys": json.dumps(keys)})
    return target


def _read(keys: Sequence[str], places: dict[str, _Place], encoder: Encoder) -> Activations:
    identity = encoder.identity
    shape = (len(keys), len(identity.layers), len(identity.positions), identity.width)
    values, n_tokens = np.empty(shape, np.float16), np.empty(len(keys), np.int64)
    by_shard: dict[Path, list[int]] = {}
    for i, key in enumerate(keys):
        by_shard.setdefault(places[key].shard, []).append(i)
    for shard, wanted in by_shard.items():
        rows = [places[keys[i]].row for i in wanted]
        with safe_open(shard, framework="numpy") as file:
            values[wanted] = file.get_tensor("values")[rows]
            n_tokens[wanted] = file.get_tensor("n_tokens")[rows]
    return Activations(values, n_tokens)
