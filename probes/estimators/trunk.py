"""Units that are learnt and shared by all candidates: the hidden layers of a network of leading coordinates.

That candidates share a trunk over a scout's activations is from "LLM Router: Rethinking Routing with Prefill
Activations" (arXiv 2603.20895); here it reads few coordinates, so that whatever projects features can leave
the rest to us, as with waves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probes.estimators.solving.coordinates import Coordinates, Floats32, Floats64
from probes.estimators.solving.network import Layers

LEADING = 32
"""Coordinates that it reads; the first of them are those of waves and novelty."""


@dataclass(frozen=True, eq=False)
class Trunk:
    """``relu(relu(u @ first + first_bias) @ second + second_bias)``, ``u = features @ directions + offsets``.

    Attributes
    ----------
    directions, offsets
        [F, q] and [q].
    first, first_bias, second, second_bias
        [q, H], [H], [H, M] and [M].
    """

    directions: Floats64
    offsets: Floats64
    first: Floats32
    first_bias: Floats32
    second: Floats32
    second_bias: Floats32

    @classmethod
    def along(cls, coordinates: Coordinates, layers: Layers, scale: float) -> Trunk:
        """The hidden layers of a network that was trained on the leading coordinates times `scale`."""
        q = len(layers.weights[0])
        directions, offsets = coordinates.fold(np.eye(coordinates.rank)[:, :q])
        (first, second), (first_bias, second_bias) = layers.weights[:2], layers.biases[:2]
        return cls(directions, offsets, first * np.float32(scale), first_bias, second, second_bias)

    @property
    def count(self) -> int:
        """Number of units M."""
        return len(self.second_bias)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.floating]]) -> Trunk:
        """A trunk of arrays by name, whatever their precision."""
        return cls(
            np.asarray(arrays["directions"], np.float64),
            np.asarray(arrays["offsets"], np.float64),
            *(
                np.asarray(arrays[name], np.float32)
                for name in ("first", "first_bias", "second", "second_bias")
            ),
        )

    def fits(self, n_features: int) -> bool:
        """Whether the arrays fit each other, and features of this width."""
        if not self.offsets.ndim == self.first_bias.ndim == self.second_bias.ndim == 1:
            return False
        q, wide, count = len(self.offsets), len(self.first_bias), len(self.second_bias)
        return (
            self.directions.shape == (n_features, q)
            and self.first.shape == (q, wide)
            and self.second.shape == (wide, count)
        )

    def at(self, leading: npt.NDArray[np.floating]) -> Floats32:
        """Units [n, M] at leading coordinates [n, q]."""
        wide: Floats32 = np.asarray(leading, dtype=np.float32) @ self.first
        wide += self.first_bias
        np.maximum(wide, 0, out=wide)
        units: Floats32 = wide @ self.second
        units += self.second_bias
        return np.maximum(units, 0, out=units)
