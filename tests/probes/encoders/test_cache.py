"""A prompt is encoded once; what is on disk is whole or not there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from probes.encoders.cache import ActivationCache
from probes.encoders.conversation import Conversation, Tools
from probes.encoders.encoder import Activations, Progress, ScoutIdentity

IDENTITY = ScoutIdentity("words", "r", "t", "residual", (1, 2), ("last",), 3)


class Counting:
    """Encodes a text to its length, and counts what it was asked."""

    def __init__(self, identity: ScoutIdentity = IDENTITY, dtype: str = "float32") -> None:
        self.identity = identity
        self.reading = {"dtype": dtype, "max_tokens": 99}
        self.asked: list[int] = []

    def render(self, conversation: Conversation, tools: Tools | None = None) -> list[int]:
        return [*map(ord, conversation[0]["content"]), len(tools or ())]

    def encode(
        self,
        conversations: Sequence[Conversation],
        *,
        tools: Tools | None = None,
        progress: Progress | None = None,
    ) -> Activations:
        self.asked.append(len(conversations))
        n = np.array([len(self.render(talk, tools)) for talk in conversations])
        return Activations(np.tile(n[:, None, None, None], (1, 2, 1, 3)).astype(np.float16), n)


def talks(*texts: str) -> list[Conversation]:
    return [[{"role": "user", "content": text}] for text in texts]


def test_only_what_is_missing_is_encoded(tmp_path: Path) -> None:
    encoder, cache = Counting(), ActivationCache(tmp_path)
    first = cache.encode(encoder, talks("a", "bb", "a"))
    assert first.n_tokens.tolist() == [2, 3, 2]
    again = ActivationCache(tmp_path).encode(encoder, talks("ccc", "bb"))
    assert again.values[:, 0, 0, 0].tolist() == [4, 3]
    assert encoder.asked == [2, 1]


def test_tools_and_scouts_are_kept_apart(tmp_path: Path) -> None:
    encoder, cache = Counting(), ActivationCache(tmp_path)
    cache.encode(encoder, talks("a"))
    assert cache.encode(encoder, talks("a"), tools=[{}]).n_tokens.tolist() == [2]
    other = Counting(replace(IDENTITY, revision="s"))
    cache.encode(other, talks("a"))
    assert (encoder.asked, other.asked) == ([1, 1], [1])


def test_another_arithmetic_or_cut_is_another_reading(tmp_path: Path) -> None:
    cache = ActivationCache(tmp_path)
    fine, coarse, short = Counting(), Counting(dtype="bfloat16"), Counting()
    short.reading["max_tokens"] = 5
    for encoder in (fine, coarse, short, fine):
        cache.encode(encoder, talks("a"))
    assert [len(encoder.asked) for encoder in (fine, coarse, short)] == [1, 1, 1]


def test_a_scouts_name_does_not_matter(tmp_path: Path) -> None:
    cache = ActivationCache(tmp_path)
    cache.encode(Counting(), talks("a"))
    renamed = Counting(replace(IDENTITY, model="elsewhere"))
    cache.encode(renamed, talks("a"))
    assert renamed.asked == []


def test_a_damaged_shard_is_encoded_again(tmp_path: Path) -> None:
    encoder, cache = Counting(), ActivationCache(tmp_path, shard_queries=1)
    told: list[tuple[int, int]] = []
    cache.encode(encoder, talks("a", "bb"), progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]
    shard = sorted(tmp_path.rglob("*.safetensors"))[0]
    shard.write_bytes(shard.read_bytes()[:40])
    assert cache.encode(encoder, talks("a", "bb")).n_tokens.tolist() == [2, 3]
    assert encoder.asked == [1, 1, 1]
    assert list(tmp_path.rglob("*.part")) == []


def test_nothing_is_nothing(tmp_path: Path) -> None:
    assert ActivationCache(tmp_path).encode(Counting(), []).values.shape == (0, 2, 1, 3)
