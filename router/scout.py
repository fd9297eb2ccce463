"""Opens the scout that a pool names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from probes.encoders.encoder import ScoutIdentity
from probes.errors import ConfigError
from router.configuration.paths import portable_model, resolve_model
from router.configuration.pool import Pool
from router.configuration.settings import Scout
from router.identity import require_identity

if TYPE_CHECKING:
    from probes.encoders.transformers import TransformersEncoder


class Reading(NamedTuple):
    """Layers (None: every block) and positions to read."""

    layers: tuple[int, ...] | None
    positions: tuple[str, ...]


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

    layers, positions = Reading(like.layers, like.positions) if like else what_to_read(scout)
    encoder = TransformersEncoder(
        scout.model,
        layers=layers,
        positions=positions,
        kind=like.kind if like else scout.kind,
        template_kwargs=scout.template_kwargs,
        name=Path(portable_model(scout.model, Path.cwd())).name,
    )
    if like is not None:
        require_identity(like, encoder.identity)
    return encoder


def what_to_read(scout: Scout) -> Reading:
    """The scout's layers and positions, ``auto`` resolved.

    A decoder knows the whole prompt at its last token only. An encoder model reads both ways; it is trained
    to fill its first token or its mean, and its embeddings' mean is a bag of words.
    """
    if scout.layers == "auto" or scout.positions == "auto":
        usual = _usual(scout)
        return Reading(
            usual.layers if scout.layers == "auto" else scout.layers,
            usual.positions if scout.positions == "auto" else scout.positions,
        )
    return Reading(scout.layers, scout.positions)


def _usual(scout: Scout) -> Reading:
    depth = _encoder_depth(scout.model) if scout.mode == "local" else None
    if depth is None:
        return Reading(None, ("last",))
    embeddings = 0 if scout.kind == "residual" else 1
    return Reading(tuple(range(embeddings, depth + 1)), ("mean", "first"))


def _encoder_depth(model: str) -> int | None:
    """Number of blocks of an encoder model; None for a decoder."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    try:
        config = AutoConfig.from_pretrained(model, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ConfigError(f"The scout {model} cannot be read: {error}", param="scout.model") from error
    causal = any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in config.architectures or ())
    if causal or config.model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return None
    return int(config.num_hidden_layers)


def with_scout(pool: Pool, model: str | None) -> Pool:
    """The pool with another scout, read where it suits that model.

    Parameters
    ----------
    pool : Pool
        Whose scout is replaced; its price and options stay.
    model : str, optional
        Relative to the working directory; None keeps the pool's scout as it is.
    """
    if model is None:
        return pool
    place = resolve_model(model, Path.cwd())
    if place == pool.scout.model:
        return pool
    scout = pool.scout.model_copy(update={"model": place, "layers": "auto", "positions": "auto"})
    return pool.model_copy(update={"scout": scout})
