"""Baselines' forecasts, kept under --work: most of a run's time, and the same every time."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np

from eval.baselines.base import Features, Forecaster, texts
from eval.harness.contestants import NEEDS_SCOUT, make_forecaster
from eval.outcomes import Outcomes
from eval.queries import Queries
from eval.tables import Floats
from probes.files import whole_file


class Kept:
    """A forecaster that is only fitted where its forecast is not on disk yet.

    The name of a forecast is a hash of all that it is made of: the router's name and seed, the baselines'
    source code, the training outcomes, texts and activations, and the queries that are asked about.

    Parameters
    ----------
    name, seed, slices
        As for `eval.harness.contestants.make_forecaster`.
    folder : Path
        Made when it is first written to.
    """

    def __init__(self, name: str, seed: int, slices: int, folder: Path) -> None:
        self.needs_features = name in NEEDS_SCOUT
        self.recipe = (name, seed, slices)
        self.folder = folder
        self._inner: Forecaster | None = None

    def fit(self, train: Outcomes, features: Features) -> Self:
        """Remember what to fit to."""
        self._data = train, features
        self._inner = None
        digest = hashlib.sha256(repr((self.recipe, source_hash())).encode())
        _feed(digest, train.correct, train.samples, features, np.array([train.groups, train.query_ids]))
        digest.update("\0".join(texts(train.queries)).encode())
        self._key = digest.digest()
        return self

    def predict(self, queries: Queries, features: Features) -> Floats:
        """Success, shape (n, K): from disk, or fitted now."""
        digest = hashlib.sha256(self._key)
        _feed(digest, features)
        digest.update("\0".join(texts(queries)).encode())
        path = self.folder / f"{digest.hexdigest()[:40]}.npy"
        if path.is_file():
            return np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)
        if self._inner is None:
            self._inner = make_forecaster(*self.recipe).fit(*self._data)
        success = self._inner.predict(queries, features)
        _write(path, success)
        return success


@cache
def source_hash() -> str:
    """sha256 of the baselines' modules."""
    folder = Path(__file__).parents[2] / "baselines"
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _feed(digest: Any, *arrays: np.ndarray[Any, Any]) -> None:
    for array in arrays:
        digest.update(repr((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).data)


def _write(path: Path, success: Floats) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as fresh, fresh.open("wb") as file:
        np.save(file, success)
