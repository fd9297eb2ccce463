"""The private folder that the gateway and one vLLM server share, and the flags that tell the server of it.

It holds the socket, the weights and a link to those in force, and the import path of the plugin. Only this
user can enter it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from safetensors.numpy import save_file

import serving
from probes.encoders.encoder import ScoutIdentity
from probes.errors import ConfigError
from probes.scoring.scorer import Scorer
from router.configuration.settings import VllmOptions
from serving.engine.plugin.outlet import CURRENT, SOCKET

CONNECTOR = "serving.engine.plugin.connector"
MAX_SOCKET_PATH = 100
"""Longest path of a socket on Linux is 108 bytes."""

Server = TypeVar("Server", bound=VllmOptions)


@dataclass(frozen=True)
class EngineRoom:
    """One private folder.

    Attributes
    ----------
    folder
        Mode 0700.
    identity
        What the engine shall read.
    """

    folder: Path
    identity: ScoutIdentity

    @classmethod
    def make(cls, identity: ScoutIdentity) -> EngineRoom:
        """A new folder, with the plugin's import path in it.

        Raises
        ------
        ConfigError
            If the engine cannot read what the router was fitted on.
        """
        _check(identity)
        folder = Path(tempfile.mkdtemp(prefix="foresight-"))  # mode 0700
        if len(str(folder)) > MAX_SOCKET_PATH - len(SOCKET):
            folder.rmdir()
            message = f"The folder for temporary files has too long a name for a socket: {folder.parent}"
            raise ConfigError(message, param="TMPDIR", hint="Set TMPDIR to a shorter path.")
        path = folder / "path"
        path.mkdir()
        # A path of its own: the gateway's site-packages must not come before vLLM's.
        (path / "serving").symlink_to(Path(serving.__file__).parent)
        return cls(folder, identity)

    @property
    def socket(self) -> Path:
        """The engine listens here once it is up."""
        return self.folder / SOCKET

    def publish(self, scorer: Scorer) -> str:
        """Put a scorer's weights in force, from the engine's next step on; gives their name."""
        arrays = scorer.weights()
        digest = hashlib.sha256(b"".join(array.tobytes() for array in arrays.values())).hexdigest()
        name = f"weights-{digest[:16]}.safetensors"
        if not (self.folder / name).is_file():
            fresh = self.folder / f".{name}"
            save_file(arrays, fresh)
            os.replace(fresh, self.folder / name)
        link = self.folder / f".{CURRENT}"
        link.unlink(missing_ok=True)
        link.symlink_to(name)
        os.replace(link, self.folder / CURRENT)
        return name

    def tell(self, server: Server, field: str) -> Server:
        """A server's options with the probe in them.

        Parameters
        ----------
        server
            As the pool sets them.
        field
            Their place in the pool file, for messages.

        Raises
        ------
        ConfigError
            If the pool itself sets what the probe needs: vLLM takes one connector, and one kind of
            speculation.
        """
        flags = self._flags()
        for flag in flags[::2]:
            if any(given == flag or given.startswith(f"{flag}=") for given in server.args):
                raise ConfigError(
                    f"{field}.args has {flag}, which the probe inside this server needs for itself",
                    param=f"{field}.args",
                    hint="Take the flag out, or use another scout mode.",
                )
        path = str(self.folder / "path")
        if given := server.env.get("PYTHONPATH"):
            path = f"{path}{os.pathsep}{given}"
        changed = {"args": (*server.args, *flags), "env": {**server.env, "PYTHONPATH": path}}
        return server.model_copy(update=changed)

    def _flags(self) -> list[str]:
        """Flags of `vllm serve`, each followed by its value."""
        extra = {
            "folder": str(self.folder),
            "kind": self.identity.kind,
            "layers": list(self.identity.layers),
            "positions": list(self.identity.positions),
        }
        transfer = {
            "kv_connector": "ProbeConnector",
            "kv_connector_module_path": CONNECTOR,
            "kv_role": "kv_producer",
            "kv_connector_extra_config": extra,
        }
        flags = ["--kv-transfer-config", json.dumps(transfer)]
        if self.identity.kind == "residual":
            flags += ["--speculative-config", json.dumps(_extraction(self.identity.layers))]
        return flags

    def remove(self) -> None:
        """Delete the folder; safe to do twice."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _extraction(layers: tuple[int, ...]) -> dict[str, Any]:
    """vLLM's own way to keep states: a pretended draft model that caches them."""
    draft = {"hf_config": {"eagle_aux_hidden_state_layer_ids": list(layers)}}
    return {"method": "extract_hidden_states", "num_speculative_tokens": 1, "draft_model_config": draft}


def _check(identity: ScoutIdentity) -> None:
    if "mean" in identity.positions:
        raise ConfigError(
            "An engine cannot read the position 'mean'",
            param="scout.positions",
            hint="Fit on [last], or use scout mode local.",
        )
    if 0 in identity.layers:
        raise ConfigError(
            "An engine cannot read the embeddings (layer 0)",
            param="scout.layers",
            hint="Fit without layer 0, or use scout mode local.",
        )
