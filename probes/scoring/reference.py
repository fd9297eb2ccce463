"""One prompt with its activations, by which another way of reading the same scout proves itself."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from probes.encoders.conversation import Conversation
from probes.encoders.encoder import Activations
from probes.errors import ArtefactError

TEXT = (
    "A farmer has seven sacks of wheat and five sacks of barley. He sells three sacks of wheat, buys two "
    "sacks of barley, and gives one sack of each to his brother. How many sacks of wheat and how many of "
    "barley are left?"
)
"""Long enough to fill several blocks of a cache, and short enough for any model."""


class _Encoder(Protocol):
    def encode(self, conversations: list[Conversation], /) -> Activations: ...


@dataclass(frozen=True, eq=False)
class Reference:
    """A prompt and what the scout's activations of it are.

    Attributes
    ----------
    text
        One user message.
    n_tokens
        Length of the rendered prompt.
    features
        float32 [F], on float16's grid.
    """

    text: str
    n_tokens: int
    features: npt.NDArray[np.float32]

    @classmethod
    def read(cls, encoder: _Encoder) -> Reference:
        """What an encoder reads."""
        activations = encoder.encode([[{"role": "user", "content": TEXT}]])
        return cls(TEXT, int(activations.n_tokens[0]), activations.features()[0])

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values; the features are float16 in base64."""
        packed = base64.b64encode(self.features.astype("<f2").tobytes()).decode()
        return {"text": self.text, "n_tokens": self.n_tokens, "features": packed}

    @classmethod
    def from_dict(cls, data: Any) -> Reference:
        """The inverse of `to_dict`; `ArtefactError` if there is none, or it is damaged."""
        hint = "Run `foresight fit` again with this version."
        if not isinstance(data, Mapping):
            raise ArtefactError("The router holds no reference prompt", param="reference", hint=hint)
        try:
            packed = base64.b64decode(data["features"], validate=True)
            features = np.frombuffer(packed, "<f2").astype(np.float32)
            return cls(str(data["text"]), int(data["n_tokens"]), features)
        except (KeyError, TypeError, ValueError) as error:
            message = f"The router's reference prompt is damaged: {error}"
            raise ArtefactError(message, param="reference", hint=hint) from error
