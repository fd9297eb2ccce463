"""Read a YAML file safely; what is wrong with it is said with its line."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from probes.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key written twice; plain YAML would keep the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{key!r} stands here twice", key_node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file.

    Raises
    ------
    ConfigError
        The file is missing, unreadable or no YAML; the line is named.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        hint = "`foresight init` writes a commented pool file."
        raise ConfigError(f"There is no file {path}.", param="pool", hint=hint) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"Cannot read {path}: {reason}.", param="pool") from error
    try:
        data = yaml.load(text, _Loader)  # a subclass of the safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        hint = "Indent with spaces, and put a space after each colon."
        raise ConfigError(f"{path}{where}: {error.problem}.", param="pool", hint=hint) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: this is no YAML text: {error}.", param="pool") from error
    if not isinstance(data, dict):
        hint = "`foresight init` writes a commented one."
        raise ConfigError(f"{path} holds no settings: expected candidates, backends, scout.", hint=hint)
    return data
