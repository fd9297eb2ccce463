"""Which layers and positions to read: the fewest that predict as well as the best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from probes.encoders.encoder import Activations
from probes.errors import UsageError

Floats = npt.NDArray[np.float64]

SCREENING_RANK = 128


@dataclass(frozen=True)
class Option:
    """Slices of activations, by their place on the two axes."""

    layers: tuple[int, ...]
    positions: tuple[int, ...]

    @property
    def size(self) -> tuple[int, int]:
        """What it costs: slices to keep, then depth of the forward pass."""
        return len(self.layers) * len(self.positions), max(self.layers)


@dataclass(frozen=True)
class Judged:
    """An option's cross-validated log loss, its excess over the best's and that one's standard error."""

    option: Option
    log_loss: float
    excess: float
    standard_error: float


@dataclass(frozen=True)
class Selection:
    """What was chosen, and how all options did, best first."""

    chosen: Option
    judged: tuple[Judged, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON knows it."""
        rows = [
            {
                "layers": list(one.option.layers),
                "positions": list(one.option.positions),
                "log_loss": one.log_loss,
                "excess": one.excess,
                "standard_error": one.standard_error,
            }
            for one in self.judged
        ]
        chosen = {"layers": list(self.chosen.layers), "positions": list(self.chosen.positions)}
        return {"chosen": chosen, "options": rows}


def default_options(n_layers: int, n_positions: int) -> tuple[Option, ...]:
    """Every single slice, all layers at one position, the deeper half, and everything."""
    layers, positions = tuple(range(n_layers)), tuple(range(n_positions))
    found = [Option((layer,), (position,)) for layer in layers for position in positions]
    for some in (layers[n_layers // 2 :], layers):
        found += [Option(some, (position,)) for position in positions]
        found.append(Option(some, positions))
    return tuple(dict.fromkeys(found))


def select(
    activations: Activations,
    correct: npt.ArrayLike,
    *,
    trials: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
    options: Sequence[Option] | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Selection:
    """Choose slices by cross-validated log loss: the simplest within one standard error of the best.

    Parameters
    ----------
    activations
        Of the training queries.
    correct, trials, groups
        As for `ProbeBank.fit`.
    options
        What to choose among; None for `default_options`.
    seed
        For the folds, the same for every option.
    progress
        Told after each option.

    Returns
    -------
    Selection
        By the one-standard-error rule (Breiman, Friedman, Olshen & Stone 1984, section 3.4.3), on the
        losses' paired differences over queries. Simplest: fewest slices, then the shallowest.
    """
    considered = tuple(default_options(*activations.values.shape[1:3]) if options is None else options)
    if not considered:
        raise UsageError("No options to choose among", param="options")
    losses = []
    for done, option in enumerate(considered, start=1):
        losses.append(_losses(activations, option, correct, trials, groups, seed))
        if progress is not None:
            progress(done, len(considered))
    best = int(np.argmin([loss.mean() for loss in losses]))
    judged = []
    for option, loss in zip(considered, losses, strict=True):
        excess = loss - losses[best]
        error = float(excess.std() / np.sqrt(len(excess)))
        judged.append(Judged(option, float(loss.mean()), float(excess.mean()), error))
    good = [one for one in judged if one.excess <= one.standard_error]
    chosen = min(good, key=lambda one: (one.option.size, one.log_loss)).option
    return Selection(chosen, tuple(sorted(judged, key=lambda one: one.log_loss)))


def _losses(
    activations: Activations,
    option: Option,
    correct: npt.ArrayLike,
    trials: npt.ArrayLike | None,
    groups: npt.ArrayLike | None,
    seed: int,
) -> Floats:
    """Out-of-fold log loss of each query that has an outcome, mean over its outcomes."""
    from probes.estimators.bank import ProbeBank  # scikit-learn, which only fitting needs

    features = activations.select(option.layers, option.positions).features()
    bank = ProbeBank(max_rank=SCREENING_RANK, n_waves=0, trunk=False, seed=seed)
    bank.fit(features, correct, trials=trials, groups=groups)
    rate = np.asarray(correct, dtype=np.float64).reshape(len(features), -1)
    seen = ~np.isnan(rate)
    logit = bank.held_out_
    each = np.where(seen, np.logaddexp(0, logit) - np.nan_to_num(rate) * logit, 0.0)
    rows = seen.any(axis=1)
    return np.asarray(each.sum(axis=1)[rows] / seen.sum(axis=1)[rows])
