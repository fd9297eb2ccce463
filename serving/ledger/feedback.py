"""`POST /v1/feedback`: how good an answer was, joined to its decision."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from serving.http.errors import ApiError, invalid_request
from serving.http.protocol import json_object, validated
from serving.ledger.ledger import Ledger


class FeedbackRequest(BaseModel):
    """`POST /v1/feedback`: the last word on a decision counts, and saying it twice changes nothing."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)

    decision_id: str = Field(min_length=1, max_length=64)
    """The `x-foresight-decision-id` of the answer."""
    correct: float | bool
    """How good it was: from 0 (wrong) to 1 (right)."""
    comment: str | None = Field(default=None, max_length=10_000)
    """Anything else."""


async def take_feedback(ledger: Ledger | None, raw: bytes, key_id: str | None) -> dict[str, Any]:
    """Check a body, and join it to its decision; the answer is given once it is on disk.

    Raises
    ------
    ApiError
        400 for a bad field, 404 for a decision that is not there, 503 where the ledger cannot be written.
    """
    if ledger is None:
        message = "This gateway keeps no ledger: there is nothing that feedback could be joined to."
        raise ApiError(404, message, code="no_ledger")
    request = validated(FeedbackRequest, json_object(raw))
    correct = float(request.correct)
    if not 0 <= correct <= 1:
        raise invalid_request("`correct`: a number from 0 to 1 was expected.", "correct", "invalid_value")
    try:
        found = await ledger.rate(request.decision_id, correct, request.comment, key_id)
    except Exception as error:
        message = "The feedback could not be stored. Send it again."
        raise ApiError(503, message, code="ledger_unavailable", headers={"retry-after": "5"}) from error
    if not found:
        message = "There is no such decision, or it was another key's."
        raise ApiError(404, message, param="decision_id", code="decision_not_found")
    return {
        "object": "foresight.feedback",
        "decision_id": request.decision_id,
        "correct": correct,
        "comment": request.comment,
    }
