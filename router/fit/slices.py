"""Which layers and positions of the scout a router reads: fitting chooses where the pool leaves it open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from probes.encoders.conversation import Conversation, Tools
from probes.encoders.encoder import Activations, Encoder, Progress, ScoutIdentity
from probes.estimators.selection import select
from router.configuration.settings import Scout
from router.fit.training import Data


class Narrowed:
    """An encoder of which only some slices are taken.

    Parameters
    ----------
    encoder : Encoder
        Reads more.
    identity : ScoutIdentity
        The same scout, with fewer layers and positions.
    """

    def __init__(self, encoder: Encoder, identity: ScoutIdentity) -> None:
        self._encoder = encoder
        self.identity = identity

    def encode(
        self,
        conversations: Sequence[Conversation],
        *,
        tools: Tools | None = None,
        progress: Progress | None = None,
    ) -> Activations:
        """Activations of n conversations."""
        read, wanted = self._encoder.identity, self.identity
        activations = self._encoder.encode(conversations, tools=tools, progress=progress)
        return activations.select(
            [read.layers.index(layer) for layer in wanted.layers],
            [read.positions.index(position) for position in wanted.positions],
        )


class Chosen(NamedTuple):
    """Slices that were chosen, as places on the two axes, and how all options did, as JSON knows it."""

    layers: tuple[int, ...]
    positions: tuple[int, ...]
    record: dict[str, Any]

    def narrow(self, activations: Activations) -> Activations:
        """Only these slices."""
        return activations.select(self.layers, self.positions)

    def identity(self, read: ScoutIdentity) -> ScoutIdentity:
        """The scout that reads these slices, and no others."""
        layers = tuple(read.layers[place] for place in self.layers)
        return replace(
            read, layers=layers, positions=tuple(read.positions[place] for place in self.positions)
        )


def is_open(scout: Scout) -> bool:
    """Whether fitting is to choose among the slices: the pool says auto, or names several."""
    named = (scout.layers, scout.positions)
    return any(some == "auto" or (some is not None and len(some) > 1) for some in named)


def choose_slices(
    activations: Activations,
    identity: ScoutIdentity,
    data: Data,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Chosen:
    """Choose slices by cross-validated log loss: the fewest within one standard error of the best.

    Parameters
    ----------
    activations : Activations
        Of the queries that fit the probes, all slices.
    identity : ScoutIdentity
        Names of the slices.
    data : Data
        The same queries' outcomes.
    seed : int
        Of the folds.
    progress : callable, optional
        Told after each option.
    """
    found = select(
        activations,
        data.correct,
        trials=data.trials,
        groups=data.groups,
        seed=seed,
        progress=progress,
    )
    rows = [
        {
            **row,
            "layers": [identity.layers[place] for place in row["layers"]],
            "positions": [identity.positions[place] for place in row["positions"]],
        }
        for row in found.to_dict()["options"]
    ]
    return Chosen(found.chosen.layers, found.chosen.positions, {"options": rows})
