"""Key files: YAML, hashes only; `foresight keys` writes them, a gateway reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from probes.errors import ConfigError
from probes.files import OWNER_ONLY, whole_file
from router.configuration.complaints import config_error
from serving.keys.key import KeyRing

HEAD = (
    "# Keys of a Foresight gateway, written by `foresight keys`. Hashes only: no key can be read from this.\n"
)


def parse_keys(text: str, source: str) -> KeyRing:
    """The keys that a text (YAML or JSON) describes.

    Parameters
    ----------
    source
        Where the text is from, for messages.

    Raises
    ------
    ConfigError
        Naming the field and the likely fix.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{source}{where}: this is no YAML.", param="keys") from error
    if content is None:
        return KeyRing()
    if not isinstance(content, dict):
        hint = "`foresight keys create` writes a key file."
        raise ConfigError(f"{source} must hold a list below keys:.", param="keys", hint=hint)
    try:
        return KeyRing.model_validate(content)
    except ValidationError as error:
        raise config_error(KeyRing, error, source) from error


def read_keys(path: Path) -> KeyRing:
    """The keys of a file; `ConfigError` if it cannot be read."""
    try:
        return parse_keys(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        hint = f"foresight keys create NAME --file {path} writes one."
        raise ConfigError(
            f"The key file {path} cannot be read: {reason}.", param="keys", hint=hint
        ) from error


def write_keys(path: Path, ring: KeyRing) -> None:
    """Write a key file that only its owner may read; it is either the old one or complete."""
    text = HEAD + yaml.safe_dump(_content(ring), sort_keys=False, allow_unicode=True)
    with whole_file(path, mode=OWNER_ONLY) as fresh:
        fresh.write_text(text, encoding="utf-8")


def one_line(ring: KeyRing) -> str:
    """What a key file says, on one line of JSON: for an environment variable."""
    return json.dumps(_content(ring))


def _content(ring: KeyRing) -> dict[str, Any]:
    return {"keys": [], **ring.model_dump(mode="json", exclude_defaults=True)}
