"""Where a scout is at work."""

from __future__ import annotations

from dataclasses import dataclass

from serving.engine.early.begun import BeginningBackend
from serving.engine.room import EngineRoom


@dataclass(frozen=True)
class Post:
    """Where a scout is at work.

    Attributes
    ----------
    mode
        `engine` or `dedicated`, for people.
    backend
        The engine.
    room
        Shared with the engine.
    model
        Its name there.
    backend_name
        The engine's name in the pool, so that its candidates may be answered by what was begun; None where it
        serves nobody but the scout, and is started and stopped with it.
    """

    mode: str
    backend: BeginningBackend
    room: EngineRoom
    model: str
    backend_name: str | None = None

    @property
    def owned(self) -> bool:
        """Whether the engine belongs to the scout alone."""
        return self.backend_name is None
