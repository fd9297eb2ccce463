"""The scout's identity in an artefact: written, read back, and held against the scout that is here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from probes.encoders.encoder import ScoutIdentity
from probes.errors import ArtefactError


def identity_to_dict(identity: ScoutIdentity) -> dict[str, Any]:
    """The identity as JSON-ready values."""
    return {**asdict(identity), "layers": list(identity.layers), "positions": list(identity.positions)}


def identity_from_dict(data: Mapping[str, Any]) -> ScoutIdentity:
    """The inverse of `identity_to_dict`; `ArtefactError` if a field is missing or foreign."""
    try:
        lists = {name: tuple(data[name]) for name in ("layers", "positions")}
        return ScoutIdentity(**{**data, **lists})
    except (KeyError, TypeError) as error:
        raise ArtefactError(f"The scout's identity cannot be read: {error}.", param="scout") from error


def require_identity(fitted_on: ScoutIdentity, offered: ScoutIdentity) -> None:
    """Refuse a scout that yields other numbers than the one that the probes were fitted on.

    Raises
    ------
    ArtefactError
        Naming the first field that differs: kind, layers, positions, width, template or weights.
    """
    for name in ("kind", "layers", "positions", "width", "template_hash", "revision"):
        wanted, found = getattr(fitted_on, name), getattr(offered, name)
        if wanted != found:
            raise ArtefactError(
                f"The router was fitted on scout {fitted_on.model!r} with {name} {_short(wanted)}, "
                f"but the scout here, {offered.model!r}, has {_short(found)}.",
                param=f"scout.{name}",
                hint="Use the scout that the router was fitted on, or run `foresight fit` for this one.",
            )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:12]}…"
