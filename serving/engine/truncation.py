"""The first blocks of a model as a model of their own: what a scout does not read need not be computed.

Only bytes are copied: safetensors files are a JSON header and one range of bytes for each tensor
(https://github.com/huggingface/safetensors#format), so that no tensor is loaded, whatever its type.
"""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any, BinaryIO

from probes.errors import ConfigError

_BLOCK = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")
_COUNTS = ("num_hidden_layers", "n_layer", "num_layers")
_INDEX = "model.safetensors.index.json"


def truncated(model: Path, n_blocks: int, target: Path) -> Path:
    """A model that is cut after its first blocks.

    Parameters
    ----------
    model
        A transformers folder.
    n_blocks
        How many blocks to keep.
    target
        A folder to make; everything but weights and configuration is linked.

    Returns
    -------
    Path
        `target`, or `model` itself if it has no more blocks than that.

    Raises
    ------
    ConfigError
        If the model's configuration or weights are of an unknown kind.
    """
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    text = config.get("text_config", config)
    count = next((name for name in _COUNTS if name in text), None)
    weights = sorted(model.glob("*.safetensors"))
    if count is None or not weights:
        raise ConfigError(
            f"{model} cannot be cut after block {n_blocks}: its configuration names no number of blocks, or "
            "its weights are no safetensors",
            param="scout.mode",
            hint="Use scout mode engine or local.",
        )
    if text[count] <= n_blocks:
        return model
    text[count] = n_blocks
    if isinstance(text.get("layer_types"), list):
        text["layer_types"] = text["layer_types"][:n_blocks]
    target.mkdir(parents=True)
    (target / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    for file in model.iterdir():
        if file.is_file() and file.name not in ("config.json", _INDEX) and file not in weights:
            (target / file.name).symlink_to(file.resolve())
    for file in weights:
        _cut(file, n_blocks, target / file.name)
    return target


def _cut(source: Path, n_blocks: int, target: Path) -> None:
    """One file without the tensors of later blocks; nothing where it held no others."""
    with source.open("rb") as stream:
        (size,) = struct.unpack("<Q", stream.read(8))
        header: dict[str, Any] = json.loads(stream.read(size))
        metadata = header.pop("__metadata__", None)
        kept = {name: entry for name, entry in header.items() if _block(name) < n_blocks}
        if kept:
            with target.open("wb") as out:
                _write(stream, 8 + size, kept, metadata, out)


def _write(stream: BinaryIO, start: int, kept: dict[str, Any], metadata: Any, out: BinaryIO) -> None:
    """Header and bytes of the kept tensors, in their old order."""
    order = sorted(kept, key=lambda name: kept[name]["data_offsets"][0])
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    end = 0
    for name in order:
        first, last = kept[name]["data_offsets"]
        header[name] = {**kept[name], "data_offsets": [end, end + last - first]}
        end += last - first
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight bytes
    out.write(struct.pack("<Q", len(text)) + text)
    for name in order:
        first, last = kept[name]["data_offsets"]
        stream.seek(start + first)
        _copy(stream, last - first, out)


def _copy(stream: BinaryIO, n_bytes: int, out: BinaryIO) -> None:
    left = n_bytes
    while left:
        piece = stream.read(min(left, 16 << 20))
        if not piece:
            raise ConfigError("The weights of the scout are cut short", param="scout.model")
        out.write(piece)
        left -= len(piece)


def _block(name: str) -> int:
    """Number of a tensor's block from 0; -1 outside of the blocks."""
    found = _BLOCK.search(name)
    return int(found.group(1)) if found else -1
