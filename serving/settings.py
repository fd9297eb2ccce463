"""What an operator may set about the gateway itself (the pool file says everything about the candidates)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class GatewaySettings(BaseModel):
    """Limits and timeouts of one gateway process; all times are in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    scout_mode: Literal["local", "none"] = "local"
    """Where activations come from: this process, or nowhere (every query then goes to the safe candidate)."""
    scout_batch: int = Field(default=16, ge=1)
    """Most queries that the local scout encodes at once."""
    scout_window_s: float = Field(default=0.001, ge=0)
    """How long the local scout waits for company once it holds one query."""
    scout_timeout_s: float = Field(default=2.0, gt=0)
    """A query that has no activations by then goes to the safe candidate."""
    connect_timeout_s: float = Field(default=3.0, gt=0)
    """Time to reach a backend before the next candidate is tried."""
    first_byte_timeout_s: float = Field(default=120.0, gt=0)
    """Time for a backend's first event (streams) or whole answer before the next candidate is tried."""
    idle_timeout_s: float = Field(default=60.0, gt=0)
    """Longest silence inside a stream that has begun."""
    request_timeout_s: float = Field(default=600.0, gt=0)
    """Longest life of one request, all attempts together."""
    max_attempts: int = Field(default=3, ge=1)
    """Candidates that one request may try."""
    max_body_bytes: int = Field(default=8 << 20, ge=1024)
    """Largest request body; larger ones are a 413."""
    body_timeout_s: float = Field(default=30.0, gt=0)
    """Time for a request body to arrive; slower ones are a 408."""
    max_answer_bytes: int = Field(default=32 << 20, ge=1024)
    """Largest non-streaming answer that is taken from a backend."""
    drain_s: float = Field(default=30.0, ge=0)
    """On SIGTERM, how long requests in flight may still run."""
