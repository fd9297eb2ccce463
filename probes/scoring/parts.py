"""A scorer on disk: one safetensors file, arrays by part, and JSON in its header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from probes.errors import ArtefactError
from probes.files import whole_file

FORMAT = "foresight-scorer"
VERSION = 3
READABLE = (1, 2, 3)
"""Versions that can be read; 1 knew no waves, 2 no trunk."""
PARTS = ("probes", "calibration", "length", "novelty")

Arrays = dict[str, npt.NDArray[Any]]


def write_parts(
    path: str | Path, parts: Mapping[str, Mapping[str, npt.NDArray[np.float64]]], meta: Mapping[str, Any]
) -> None:
    """Write arrays by part and name; matrices as float32. Complete or not at all."""
    arrays = {
        f"{part}.{name}": np.ascontiguousarray(array, dtype=np.float32 if array.ndim == 2 else None)
        for part, named in parts.items()
        for name, array in named.items()
    }
    told = {"format": FORMAT, "version": VERSION, **meta}
    with whole_file(path) as fresh:
        save_file(arrays, fresh, metadata={"foresight": json.dumps(told)})


def read_parts(path: Path) -> tuple[dict[str, Arrays], dict[str, Any]]:
    """Read what `write_parts` wrote: arrays by part and name, and the rest.

    Raises
    ------
    ArtefactError
        If the file is missing, damaged, or of another format or version.
    """
    arrays, meta = _read(path)
    if meta.get("format") != FORMAT or meta.get("version") not in READABLE:
        raise ArtefactError(
            f"{path} is {meta.get('format')!r} version {meta.get('version')!r}, not {FORMAT!r} {VERSION}",
            param="probes",
            hint="Fit the router again with this version of Foresight.",
        )
    return {name: _part(arrays, name) for name in PARTS}, meta


def _read(path: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    try:
        with safe_open(path, framework="numpy") as file:
            meta = json.loads((file.metadata() or {}).get("foresight", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, dict(meta)  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError) as exc:
        raise ArtefactError(
            f"{path} cannot be read: {exc}",
            param="probes",
            hint="Copy the whole artefact again, or fit again.",
        ) from exc


def _part(arrays: Mapping[str, npt.NDArray[Any]], name: str) -> dict[str, npt.NDArray[Any]]:
    prefix = f"{name}."
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
