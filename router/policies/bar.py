"""Whether an answer looks right: its own confidence against a bar."""

from __future__ import annotations

from dataclasses import dataclass

from probes.errors import UsageError


@dataclass(frozen=True)
class Verdict:
    """What a bar says of an answer.

    Attributes
    ----------
    kept : bool
        Whether the answer is good enough.
    reason : str
        Why, in one clause.
    """

    kept: bool
    reason: str


@dataclass(frozen=True)
class Bar:
    """Keeps an answer whose confidence reaches `accept`; one that does not tell its confidence is in doubt.

    Confidence is any score in [0, 1] on which `accept` was set: of an answer's token probabilities (the
    gateway's, `serving.policies.confidence`), of a verifier, of agreement among draws.

    Attributes
    ----------
    accept : float
        Least confidence, in [0, 1], at which an answer is kept.
    """

    accept: float = 0.5

    def __post_init__(self) -> None:
        """Refuse a bar out of range."""
        if not 0.0 <= self.accept <= 1.0:
            raise UsageError(f"accept must lie between 0 and 1, not {self.accept}.", param="accept")

    def judge(self, confidence: float | None) -> Verdict:
        """Keep an answer, or doubt it; None where it does not tell how sure it is.

        Raises
        ------
        UsageError
            The confidence is no probability.
        """
        if confidence is None:
            return Verdict(False, "it does not tell how sure it is")
        if not 0.0 <= confidence <= 1.0:
            raise UsageError(f"confidence must lie between 0 and 1, not {confidence}.", param="confidence")
        if confidence >= self.accept:
            return Verdict(True, f"confidence {confidence:.2f} reaches {self.accept:.2f}")
        return Verdict(False, f"confidence {confidence:.2f} is below {self.accept:.2f}")
