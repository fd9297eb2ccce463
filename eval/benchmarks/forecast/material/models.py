"""The real training runs that forecasts are tried on: the ladder's, with their checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.benchmarks.row import Setting
from eval.ladder import FOLDER
from eval.ladder.sizes import LOG_SHARES, SIZES, Size
from eval.ladder.train import checkpoint_folder

VOCABULARY = 471
"""Tokens of the ladder's tokeniser."""
RUNS = "ladder-runs"
"""Under --work: ``checkpoints/NAME/SHARE`` and ``NAME``, as `foresight ladder train` writes them."""


@dataclass(frozen=True)
class Series:
    """One training run.

    Attributes
    ----------
    name : str
        The rung.
    folders : dict of float to Path
        Model folders by share of training, earliest first.
    tokens : int
        Tokens of the whole training.
    parameters : int
        Of the model.
    """

    name: str
    folders: dict[float, Path]
    tokens: int
    parameters: int


def ladder_runs(setting: Setting, *, least: int = 2, shares: Sequence[float] = LOG_SHARES) -> list[Series]:
    """Every rung with its checkpoints at some shares of training, as far as they are on this machine."""
    found = []
    for name, size in SIZES.items():
        folders = {}
        for share in shares:
            place = _place(setting, name, share)
            if place is not None:
                folders[share] = place
        if len(folders) >= least:
            found.append(Series(name, folders, size.tokens, parameters(size)))
    return found


def parameters(size: Size) -> int:
    """Weights of a model of this size, tied embeddings once."""
    head = 32 * (2 * size.heads + 2 * size.kv_heads) * size.hidden
    block = head + 3 * size.hidden * size.mlp + 2 * size.hidden
    return size.layers * block + size.hidden * (VOCABULARY + 1)


def _place(setting: Setting, name: str, share: float) -> Path | None:
    runs = setting.work / "forecast" / RUNS
    if share < 1:
        places = [checkpoint_folder(runs, name, share), checkpoint_folder(FOLDER, name, share)]
    else:
        places = [runs / name, FOLDER / "models" / name]
    return next((place for place in places if (place / "model.safetensors").is_file()), None)
