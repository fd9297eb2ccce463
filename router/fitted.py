"""What fitting found out about a pool besides the probes: knobs, levels, and who is safe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from probes.errors import ArtefactError
from router.configuration.settings import FITTED, KNOBS


@dataclass(frozen=True)
class Fitted:
    """Numbers of the calibration split.

    Attributes
    ----------
    candidates : tuple of str
        The probes' candidates, in the order of their columns.
    success : mapping of str to float
        Accuracy of each candidate.
    output_tokens : mapping of str to float
        Mean answer length of each candidate, in tokens.
    safe_candidate : str
        The most accurate candidate.
    knobs : mapping of str to mapping
        The knobs of each rule that keep accuracy within reach of the best single candidate at least cost.
    static : tuple of str
        Rules that did not pay on the calibration split: with their knob left open, the safe candidate serves.
    rule : str
        What a pool's rule ``fitted`` stands for.
    """

    candidates: tuple[str, ...]
    success: Mapping[str, float]
    output_tokens: Mapping[str, float]
    safe_candidate: str
    knobs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    static: tuple[str, ...] = ()
    rule: str = "cheapest-likely"

    def to_dict(self) -> dict[str, Any]:
        """The numbers as JSON-ready values."""
        return {**asdict(self), "candidates": list(self.candidates), "static": list(self.static)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Fitted:
        """The inverse of `to_dict`; `ArtefactError` if a field is missing or foreign."""
        try:
            lists = {name: tuple(data[name]) for name in ("candidates", "static")}
            fitted = cls(**{**data, **lists})
        except (KeyError, TypeError) as error:
            raise ArtefactError(
                f"The artefact's fitted numbers are incomplete: {error}.", param="fitted"
            ) from error
        if fitted.rule not in KNOBS or fitted.rule == FITTED:
            raise ArtefactError(f"The artefact's rule {fitted.rule!r} is unknown.", param="fitted.rule")
        return fitted
