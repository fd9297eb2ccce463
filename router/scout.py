"""Opens the scout that a pool names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from probes.encoder import ScoutIdentity
from probes.errors import ConfigError
from router.identity import require_identity
from router.paths import portable_model, resolve_model
from router.pool import Pool
from router.settings import Scout

if TYPE_CHECKING:
    from probes.encoders.transformers import TransformersEncoder


def open_scout(scout: Scout, like: ScoutIdentity | None = None) -> TransformersEncoder:
    """The scout as an in-process encoder; imports torch and transformers.

    Parameters
    ----------
    scout : Scout
        Which model to read, and where.
    like : ScoutIdentity, optional
        Read these layers and positions instead, and be this very scout.

    Raises
    ------
    ConfigError
        There is no model at the scout's place.
    ArtefactError
        The model is another one than `like`.
    MissingExtraError
        transformers is not installed.
    """
    if Path(scout.model).is_absolute() and not (Path(scout.model) / "config.json").is_file():
        raise ConfigError(
            f"No scout in {scout.model}: there is no config.json.",
            param="scout.model",
            hint="Name a transformers folder relative to the pool file, or ladder-s|m|l.",
        )
    from probes.encoders.transformers import TransformersEncoder

    encoder = TransformersEncoder(
        scout.model,
        layers=like.layers if like else scout.layers,
        positions=like.positions if like else scout.positions,
        kind=like.kind if like else scout.kind,
        template_kwargs=scout.template_kwargs,
        name=Path(portable_model(scout.model, Path.cwd())).name,
    )
    if like is not None:
        require_identity(like, encoder.identity)
    return encoder


def with_scout(pool: Pool, model: str | None) -> Pool:
    """The pool with another scout; `model` is relative to the working directory, None keeps the pool's."""
    if model is None:
        return pool
    scout = pool.scout.model_copy(update={"model": resolve_model(model, Path.cwd()), "layers": None})
    return pool.model_copy(update={"scout": scout})
