"""Knows before the first token how likely each candidate is to answer well.

Activations of a scout come from an encoder, a probe bank turns them into success probabilities, and a
scorer is the bank with its calibration, length head and novelty statistics, as it is saved and served.

The names below are loaded on first use, so that ``import probes`` stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from probes.lazy import lazy_names

if TYPE_CHECKING:
    from probes.encoders.cache import ActivationCache
    from probes.encoders.encoder import Activations, Encoder, ScoutIdentity
    from probes.encoders.transformers import TransformersEncoder
    from probes.estimators.bank import ProbeBank
    from probes.scoring.calibration import Calibrator
    from probes.scoring.length import LengthHead
    from probes.scoring.novelty import Novelty
    from probes.scoring.scorer import Scorer
    from probes.scoring.scores import ScoreTable

__all__ = [
    "ActivationCache",
    "Activations",
    "Calibrator",
    "Encoder",
    "LengthHead",
    "Novelty",
    "ProbeBank",
    "ScoreTable",
    "Scorer",
    "ScoutIdentity",
    "TransformersEncoder",
]

_HOME = {
    "ActivationCache": "probes.encoders.cache",
    "Activations": "probes.encoders.encoder",
    "Calibrator": "probes.scoring.calibration",
    "Encoder": "probes.encoders.encoder",
    "LengthHead": "probes.scoring.length",
    "Novelty": "probes.scoring.novelty",
    "ProbeBank": "probes.estimators.bank",
    "ScoreTable": "probes.scoring.scores",
    "Scorer": "probes.scoring.scorer",
    "ScoutIdentity": "probes.encoders.encoder",
    "TransformersEncoder": "probes.encoders.transformers",
}

__getattr__, __dir__ = lazy_names(__name__, _HOME)
