"""The bank and a network of the same directions, averaged as far as that predicts better out of fold."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from probes.estimators.linear import LinearProbes
from probes.estimators.outcomes import Targets
from probes.estimators.solving.coordinates import Coordinates, Floats32
from probes.estimators.solving.network import Layers, train
from probes.estimators.trunk import LEADING, Trunk
from probes.estimators.view import Gain, gain_of

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

PASSES = (40, 80)
"""Over the training rows; more are tried where the network has got `HALF` of the average or more."""
HALF = 0.5
FULL_ROWS = 10_000
"""Training rows from which on passes get fewer, so that the steps stay as many."""
SHARES = tuple(round(0.1 * tenth, 1) for tenth in range(1, 11))
"""Of the network in the average."""


@dataclass(frozen=True, eq=False)
class Blend:
    """Bank and network, averaged.

    Attributes
    ----------
    probes
        Both in one.
    held
        Out-of-fold logits of the training rows [n, K].
    gain
        Over the bank alone, out of fold.
    passes, share
        Of the network: over the training rows, and in the average.
    """

    probes: LinearProbes
    held: Floats
    gain: Gain
    passes: int
    share: float

    @classmethod
    def fit(
        cls,
        coordinates: Coordinates,
        z: Floats32,
        probes: LinearProbes,
        held: Floats,
        targets: Targets,
        fold: Index,
        seed: int = 0,
    ) -> Blend:
        """Train networks to the probes' loadings, and average the best with the probes.

        Parameters
        ----------
        coordinates, z
            Of the features, and the training rows' own [n, r].
        probes, held
            Without a trunk; their out-of-fold logits [n, K].
        targets, fold
            Outcomes, and the fold of each row [n].
        seed
            Of the networks.
        """
        read = z[:, :LEADING]
        scale = 1 / max(float(np.sqrt(np.square(read, dtype=np.float64).mean())), 1e-12)
        best, layers = None, None
        for passes in (max(1, round(count * min(1.0, FULL_ROWS / len(z)))) for count in PASSES):
            networks = train(
                read * np.float32(scale),
                *targets,
                probes.loadings,
                probes.level,
                fold,
                passes=passes,
                seed=seed,
            )
            found = _averaged(probes, held, networks, read * np.float32(scale), targets, fold, passes)
            if best is not None and not gain_of(found.held, best.held, targets).counts:
                break
            best, layers = found, networks[-1]
            if best.share < HALF:
                break
        assert best is not None
        assert layers is not None
        return replace(
            best, probes=_joined(probes, Trunk.along(coordinates, layers, scale), layers, best.share)
        )


def _averaged(
    probes: LinearProbes,
    held: Floats,
    networks: tuple[Layers, ...],
    inputs: Floats32,
    targets: Targets,
    fold: Index,
    passes: int,
) -> Blend:
    """The share that predicts best out of fold."""
    alone = np.empty_like(held)
    for k, network in enumerate(networks[:-1]):
        mine = fold == k
        alone[mine] = network(inputs[mine]).astype(np.float64) @ probes.loadings + probes.level
    gains = {share: gain_of((1 - share) * held + share * alone, held, targets) for share in SHARES}
    share = max(gains, key=lambda share: gains[share].mean)
    return Blend(probes, (1 - share) * held + share * alone, gains[share], passes, share)


def _joined(probes: LinearProbes, trunk: Trunk, layers: Layers, share: float) -> LinearProbes:
    """One set of probes with the network's part of each direction."""
    rest = 1 - share
    return replace(
        probes,
        directions=probes.directions * rest,
        offsets=probes.offsets * rest + share * layers.biases[-1].astype(np.float64),
        on_waves=None if probes.on_waves is None else probes.on_waves * rest,
        trunk=trunk,
        on_trunk=layers.weights[-1].astype(np.float64) * share,
    )
