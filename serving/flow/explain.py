"""One decision, told alike in three places: response headers, a body field, the last event of a stream."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from router.decisions.decision import Decision
from serving.flow.sending.dispatch import Failure
from serving.http.sse import event
from serving.policies.tried import Tried

_SHARED = ("id", "object", "created", "model")
_PLAIN = str.maketrans({"≥": ">=", "≤": "<=", "×": "x", "−": "-"})
"""How signs of reasons are written where only ASCII may stand."""
MAX_HEADER = 400
"""Characters of a header value."""


@dataclass(frozen=True)
class Explanation:
    """A decision together with what became of it.

    Attributes
    ----------
    decision
        The router's choice.
    served_by
        The candidate that answered: the chosen one, or a later one of its ranking.
    failures
        The candidates that were tried before, and why they did not answer.
    tried
        The answers of a cascade that were looked at.
    """

    decision: Decision
    served_by: str
    failures: Sequence[Failure] = ()
    tried: Sequence[Tried] = ()

    @property
    def reason(self) -> str:
        """The decision's reason, and what made the gateway go down the ranking."""
        tried = "".join(f"; {failure.candidate} failed ({failure.kind})" for failure in self.failures)
        seen = "".join(f"; {step.candidate}: {step.reason}" for step in self.tried)
        return self.decision.reason + seen + (f"{tried}; next of the same ranking" if tried else "")

    def headers(self) -> dict[str, str]:
        """The `x-foresight-*` headers of the candidate that answered; unknown numbers are left out."""
        success = self.decision.success.get(self.served_by)
        cost_usd = self.decision.expected_cost_usd.get(self.served_by)
        headers = {"x-foresight-candidate": self.served_by}
        if success is not None:
            headers["x-foresight-success"] = f"{success:.4f}"
        if cost_usd is not None:
            headers["x-foresight-expected-cost-usd"] = f"{cost_usd:.3g}"
        headers["x-foresight-reason"] = self.reason
        headers["x-foresight-decision-id"] = self.decision.id
        return {name: header_value(value) for name, value in headers.items()}

    def field(self) -> dict[str, Any]:
        """The body field `foresight`."""
        failed = [{"candidate": failure.candidate, "kind": failure.kind} for failure in self.failures]
        return {
            **self.decision.to_dict(),
            "reason": self.reason,
            "served_by": self.served_by,
            "failed": failed,
            **({"tried": [step.to_dict() for step in self.tried]} if self.tried else {}),
        }

    def into_body(self, body: bytes) -> bytes:
        """A JSON object's bytes with the field `foresight` appended; the rest stays as it came."""
        end = body.rindex(b"}")
        separator = b"" if body[:end].rstrip().endswith(b"{") else b","
        return body[:end] + separator + b'"foresight":' + json.dumps(self.field()).encode() + body[end:]

    def into_stream(self, template: dict[str, Any]) -> bytes:
        """An event without choices that carries the field `foresight`.

        `template` is an earlier chunk of the stream: clients expect its id, model and time in every chunk.
        """
        shared: dict[str, Any] = {name: template[name] for name in _SHARED if name in template}
        return event(shared | {"choices": [], "foresight": self.field()})


def header_value(text: str) -> str:
    """Text as a legal header value: printable ASCII on one line, bounded."""
    if text.isascii() and text.isprintable():
        return text[:MAX_HEADER].strip()
    plain = text.translate(_PLAIN).encode("ascii", "replace").decode()
    return "".join(char if char.isprintable() else " " for char in plain)[:MAX_HEADER].strip()
