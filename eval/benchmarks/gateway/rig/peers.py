"""The peers: each in an environment of its own, made when it is first needed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from probes.errors import BackendError

MASTER_KEY = "sk-measured"
STAMP = "foresight-peer"
"""File in an environment, written last: the packages that it was made of."""


@dataclass(frozen=True)
class Peer:
    """A gateway of somebody else.

    Attributes
    ----------
    name
        As its papers and pages call it.
    packages
        What `pip install` is asked for.
    ready
        Path that answers once it is up.
    model
        What its requests ask for.
    key
        The key that its requests carry.
    env
        Environment variables of its process.
    """

    name: str
    packages: tuple[str, ...]
    ready: str
    model: str
    key: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)


LITELLM = Peer(
    "LiteLLM",
    ("litellm[proxy]==1.106.2",),
    ready="/health/liveliness",
    model="m",
    key=MASTER_KEY,
    env={"LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"},
)
"""Keys need a master key; without a database it keeps no ledger."""
ROUTELLM = Peer(
    "RouteLLM",
    ("routellm[serve]==0.2.0", "torch==2.13.0"),
    ready="/health",
    model="router-random-0.5",
    env={"OPENAI_API_KEY": "x", "HF_HUB_OFFLINE": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
)
"""With the random router: its others would ask OpenAI for an embedding of each prompt."""
PEERS = (LITELLM, ROUTELLM)


def environment(peer: Peer, home: Path) -> Path:
    """The Python of a peer's environment, which is made now if it is not there.

    Parameters
    ----------
    peer
        Whose.
    home
        Folder of all of them.

    Raises
    ------
    BackendError
        pip could not make it: no network, or no such version.
    """
    folder = home / peer.name.lower()
    python, stamp = folder / "bin" / "python", folder / STAMP
    wanted = " ".join(peer.packages)
    if not (stamp.is_file() and stamp.read_text() == wanted):
        if folder.exists():
            shutil.rmtree(folder)
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q", *peer.packages])
        stamp.write_text(wanted)
    return python


def command(peer: Peer, python: Path, upstream: str, port: int, folder: Path) -> list[str]:
    """What starts a peer on this port, in front of this upstream (a base URL without `/v1`)."""
    if peer is ROUTELLM:
        words = ("-m", "routellm.openai_server", "--routers", "random", "--port", str(port))
        models = ("--strong-model", "openai/m", "--weak-model", "openai/m")
        return [str(python), *words, "--base-url", f"{upstream}/v1", "--api-key", "x", *models]
    entry = {
        "model_name": peer.model,
        "litellm_params": {"model": "openai/m", "api_base": f"{upstream}/v1", "api_key": "x"},
    }
    config = folder / "litellm.yaml"
    config.write_text(yaml.safe_dump({"model_list": [entry], "general_settings": {"master_key": MASTER_KEY}}))
    return [str(python.parent / "litellm"), "--config", str(config), "--port", str(port)]


def _run(words: Sequence[str]) -> None:
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        tail = " ".join(done.stdout.strip().splitlines()[-3:])
        raise BackendError(f"`{' '.join(words[-4:])}` failed: {tail[-300:]}")
