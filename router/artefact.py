"""A fitted router on disk: ``router.json`` and ``probes.safetensors``; nothing in it can run code."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from probes.encoders.encoder import ScoutIdentity
from probes.errors import ArtefactError, ForesightError, UsageError
from probes.scoring.scorer import Scorer
from router.configuration.pool import Pool
from router.fitted import Fitted
from router.identity import identity_from_dict, identity_to_dict

SCHEMA_VERSION = 1
MANIFEST = "router.json"
PROBES = "probes.safetensors"


@dataclass(frozen=True)
class Artefact:
    """All that a router is made of.

    Attributes
    ----------
    pool : Pool
        The pool as it was when the router was fitted.
    identity : ScoutIdentity
        The scout whose activations the probes read.
    scorer : Scorer
        The probes.
    fitted : Fitted
        Knobs and levels.
    record : mapping
        How it came about: hashes of the splits, selection, metrics on the test split.
    """

    pool: Pool
    identity: ScoutIdentity
    scorer: Scorer
    fitted: Fitted
    record: Mapping[str, Any] = field(default_factory=dict)

    def write(self, folder: str | Path) -> None:
        """Write the artefact; the folder appears complete or not at all.

        Raises
        ------
        UsageError
            The folder exists and holds something else.
        """
        folder = Path(folder).resolve()
        if (
            folder.exists()
            and not (folder / MANIFEST).is_file()
            and (folder.is_file() or any(folder.iterdir()))
        ):
            raise UsageError(
                f"{folder} exists and is no router.",
                param="out",
                hint="Choose a new folder; nothing was changed.",
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
            fresh = Path(temporary) / "router"
            fresh.mkdir()
            self.scorer.save(fresh / PROBES)
            manifest = {
                "schema_version": SCHEMA_VERSION,
                "scout": identity_to_dict(self.identity),
                "probes_sha256": _sha256(fresh / PROBES),
                "fitted": self.fitted.to_dict(),
                "pool": self.pool.snapshot(folder),
                **self.record,
            }
            text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False)
            (fresh / MANIFEST).write_text(text + "\n", encoding="utf-8")
            _swap(fresh, folder, Path(temporary) / "replaced")

    @classmethod
    def read(cls, folder: str | Path) -> Artefact:
        """Read an artefact.

        Raises
        ------
        ArtefactError
            Something is missing, damaged, or written by another version.
        """
        folder = Path(folder)
        manifest = _manifest(folder)
        probes = folder / PROBES
        if not probes.is_file() or _sha256(probes) != manifest.get("probes_sha256"):
            raise ArtefactError(
                f"{probes} is missing or damaged: it is not what {MANIFEST} describes.",
                param=PROBES,
                hint="Copy the whole folder again, or run `foresight fit`.",
            )
        try:
            parts = {name: manifest.pop(name) for name in ("scout", "fitted", "pool")}
            identity = identity_from_dict(parts["scout"])
            fitted = Fitted.from_dict(parts["fitted"])
            pool = Pool.parse(parts["pool"], folder=folder.resolve(), source=str(folder / MANIFEST))
        except ArtefactError:
            raise
        except (ForesightError, KeyError, TypeError, AttributeError) as error:
            message = f"{folder / MANIFEST} is damaged: {error}."
            raise ArtefactError(message, param=MANIFEST, hint="Run `foresight fit` again.") from error
        record = {k: v for k, v in manifest.items() if k not in ("schema_version", "probes_sha256")}
        return cls(pool, identity, Scorer.load(probes), fitted, record)


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    hint = "Name the folder that `foresight fit` wrote."
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ArtefactError(
            f"{folder} is no router: there is no {MANIFEST}.", param="router", hint=hint
        ) from error
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{path} cannot be read: {error}.", param=MANIFEST, hint=hint) from error
    version = manifest.get("schema_version") if isinstance(manifest, dict) else None
    if version != SCHEMA_VERSION:
        raise ArtefactError(
            f"{path} has schema_version {version!r}; this Foresight reads {SCHEMA_VERSION}.",
            param="schema_version",
            hint="Fit the router again with this version, or install the one that wrote it.",
        )
    return dict(manifest)


def _swap(fresh: Path, folder: Path, replaced: Path) -> None:
    """Put `fresh` in the place of `folder`; on failure the old folder is back."""
    if folder.exists():
        os.rename(folder, replaced)
    try:
        os.rename(fresh, folder)
    except OSError:
        if replaced.exists():
            os.rename(replaced, folder)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
