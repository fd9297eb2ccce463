"""The body of `POST /v1/batches`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from router.policies import Bar
from serving.files_api.batches import Order
from serving.http.errors import invalid_request

Name = Annotated[str, StringConstraints(max_length=64)]
Text = Annotated[str, StringConstraints(max_length=512)]


class Goal(BaseModel):
    """What a batch is for: at most one of budget, floor and policy."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    budget_usd: float | None = Field(default=None, gt=0)
    """Most money for all lines."""
    min_accuracy: float | None = Field(default=None, ge=0, le=1)
    """Least expected share of right answers."""
    policy: str | None = None
    """Each line by itself, by this policy of the pool."""
    skip_bad: bool = False
    """Run the lines that can be run where others cannot."""
    self_check: bool = False
    """Ask a line once more, of a likelier candidate, where its first answer looks wrong."""
    accept: float = Field(default=Bar.accept, ge=0, le=1)
    """Least confidence of a first answer that looks right."""


class BatchRequest(BaseModel):
    """OpenAI's request, and the job's goal as `foresight`."""

    model_config = ConfigDict(extra="allow")

    input_file_id: str = Field(min_length=1, max_length=256)
    endpoint: Literal["/v1/chat/completions", "/v1/completions"]
    completion_window: Literal["24h"] = "24h"
    metadata: dict[Name, Text] | None = Field(default=None, max_length=16)
    foresight: Goal | None = None

    def order(self) -> Order:
        """What is asked for; `ApiError` (400) for two goals at once."""
        wish = self.foresight or Goal()
        if sum(goal is not None for goal in (wish.budget_usd, wish.min_accuracy, wish.policy)) > 1:
            raise invalid_request("Give one goal: budget_usd, min_accuracy or policy.", "foresight")
        return Order(
            self.endpoint,
            self.input_file_id,
            self.metadata,
            budget_usd=wish.budget_usd,
            min_accuracy=wish.min_accuracy,
            policy=wish.policy,
            skip_bad=wish.skip_bad,
            accept=wish.accept if wish.self_check else None,
        )
