"""What an encoder is: prompts in, activations of the scout out, under a name that says what was read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from probes.encoders.conversation import Conversation, Tools
from probes.errors import DataError

Kind: TypeAlias = Literal["residual", "value"]
Progress: TypeAlias = Callable[[int, int], None]
"""Called with (queries done, queries in all)."""


@dataclass(frozen=True)
class ScoutIdentity:
    """Which numbers an encoder yields: two encoders of equal fingerprint yield the same for the same prompt.

    Attributes
    ----------
    model
        A name for people.
    revision
        sha256 of configuration, weights and tokenizer, hexadecimal.
    template_hash
        sha256 of the chat template and the arguments that it is rendered with.
    kind
        ``residual``: a block's output, before any final norm. ``value``: a block's attention value vectors.
    layers
        Blocks that are read, counted from 1; 0 is the embeddings (``residual`` only).
    positions
        Where in the prompt: ``last``, ``last-k`` (k tokens before the last), ``first``, ``mean``.
    width
        Length of one activation.
    """

    model: str
    revision: str
    template_hash: str
    kind: Kind
    layers: tuple[int, ...]
    positions: tuple[str, ...]
    width: int

    @property
    def n_features(self) -> int:
        """Length of one query's feature vector."""
        return len(self.layers) * len(self.positions) * self.width

    @property
    def fingerprint(self) -> str:
        """sha256 of all fields but the name."""
        fields = {name: value for name, value in asdict(self).items() if name != "model"}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Activations:
    """What was read of n queries.

    Attributes
    ----------
    values
        float16 [n, layers, positions, width].
    n_tokens
        int [n]: length of each rendered prompt, before any cut, in tokens.
    """

    values: npt.NDArray[np.float16]
    n_tokens: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        """Refuse what is not shaped like activations.

        Raises
        ------
        DataError
            If shapes do not fit each other.
        """
        if self.values.ndim != 4 or self.n_tokens.shape != self.values.shape[:1]:
            raise DataError(
                f"Activations must be [n, layers, positions, width] with n token counts, not "
                f"{list(self.values.shape)} with {list(self.n_tokens.shape)}"
            )

    def __len__(self) -> int:
        return len(self.values)

    def features(self) -> npt.NDArray[np.float32]:
        """float32 [n, layers * positions * width]: layers slowest, width fastest."""
        return self.values.reshape(len(self.values), -1).astype(np.float32)

    def take(self, index: npt.ArrayLike) -> Activations:
        """Some of the queries, by integer index or boolean mask [n]."""
        rows = np.asarray(index)
        return Activations(self.values[rows], self.n_tokens[rows])

    def select(self, layers: Iterable[int], positions: Iterable[int]) -> Activations:
        """Some of the slices, by their place (not their name) on the two axes."""
        picked = self.values[:, list(layers)][:, :, list(positions)]
        return Activations(picked, self.n_tokens)

    @staticmethod
    def concatenate(parts: Sequence[Activations]) -> Activations:
        """Queries of several, one after the other."""
        return Activations(
            np.concatenate([part.values for part in parts]), np.concatenate([part.n_tokens for part in parts])
        )


class Encoder(Protocol):
    """Reads the scout's activations of prompts."""

    @property
    def identity(self) -> ScoutIdentity:
        """Which numbers `encode` yields."""
        ...

    def encode(
        self,
        conversations: Sequence[Conversation],
        *,
        tools: Tools | None = None,
        progress: Progress | None = None,
    ) -> Activations:
        """Activations of n conversations, in their order; `tools` are offered in each of them."""
        ...
