"""The ladder: the reference pool of small real language models, its questions, and how both are made."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
"""Where the packaged ladder stands: ``models/``, ``checkpoints/``, ``router/``, ``pool.yaml``."""
