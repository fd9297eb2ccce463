"""Does the engine read what the probes were fitted on? One prompt, whose activations the artefact keeps,
tells.

vLLM's cache has no documented layout, and another one would be read without any error. So nothing is
decided by an engine that has not shown this prompt's numbers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from probes.errors import ArtefactError
from probes.scoring.reference import Reference
from probes.scoring.scorer import Scorer
from serving.engine.channel import Message

TOLERANCE = 0.05
"""Largest relative error: float32 measures below 0.001, bfloat16 about 0.03, a wrong layout about 1.4."""
SCORE_TOLERANCE = 0.001
"""The same for the product with the weights, which is computed in float32 in both places."""


def require_reference(reference: Reference, message: Message, scorer: Scorer, weights: str) -> float:
    """Hold an engine's reading of the reference prompt against the artefact's.

    Returns
    -------
    float
        The relative error: |engine - artefact| / |artefact|.

    Raises
    ------
    ArtefactError
        If the engine reads something else.
    """
    if message.n_tokens != reference.n_tokens:
        raise _refusal(f"{message.n_tokens} tokens, where it has {reference.n_tokens}")
    if message.features.shape != reference.features.shape:
        raise _refusal(f"{len(message.features)} numbers, where there are {len(reference.features)}")
    error = relative_error(message.features, reference.features)
    if not error <= TOLERANCE:
        raise _refusal(f"numbers with a relative error of {error:.3g}, of which {TOLERANCE} is allowed")
    if message.weights != weights:
        raise _refusal(f"it with the weights {message.weights}, not {weights}")
    wanted = scorer.project(message.features[None])
    there = np.append(wanted.values[0], wanted.energy[0])
    if message.scores.shape != there.shape or not relative_error(message.scores, there) <= SCORE_TOLERANCE:
        raise _refusal("it rightly and multiplies it wrongly")
    return error


def relative_error(found: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]) -> float:
    """|found - wanted| / |wanted|."""
    return float(np.linalg.norm(found - wanted) / max(float(np.linalg.norm(wanted)), 1e-12))


def _refusal(what: str) -> ArtefactError:
    return ArtefactError(
        f"Of the reference prompt the scout's engine reads {what}",
        param="scout",
        hint="Serve the model that the router was fitted on, or use scout mode local.",
    )
