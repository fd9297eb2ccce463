"""What a job is expected to come to, and what it came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from router.allocation.doubt import SecondLook
from router.allocation.preview import Point, Preview
from serving.batch.reading.lines import Fault


@dataclass(frozen=True)
class Plan:
    """What is known before any money is spent.

    Attributes
    ----------
    lines
        Lines that can be run.
    faults
        Lines that cannot, and why.
    ways
        Every way to run the job.
    chosen
        The goal's own allocation; None where no goal was given.
    second_look
        The most that a self-check can come to on top of it; None where none was asked for.
    """

    lines: int
    faults: tuple[Fault, ...]
    ways: Preview | None
    chosen: Point | None
    second_look: SecondLook | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        ways = None
        if self.ways is not None:
            ways = {
                "cheapest": self.ways.cheapest.to_dict(),
                "best": self.ways.best.to_dict(),
                "singles": [point.to_dict() for point in self.ways.singles],
                "frontier": [point.to_dict() for point in self.ways.frontier],
            }
        faults = [
            {"line": f.number, "custom_id": f.custom_id, "code": f.code, "message": f.message}
            for f in self.faults
        ]
        chosen = None if self.chosen is None else self.chosen.to_dict()
        again = None if self.second_look is None else self.second_look.to_dict()
        return {
            "lines": self.lines,
            "faults": faults,
            "ways": ways,
            "chosen": chosen,
            "second_look": again,
        }


@dataclass(frozen=True)
class Summary:
    """What a run came to.

    Attributes
    ----------
    answered, failed
        Lines with an answer; lines in the errors' file.
    cost_usd
        Real cost, all runs together.
    doubted, rechecked
        Lines whose first answer looked wrong; those of them that a second one was paid for.
    expected
        The plan at the start, without second answers.
    best
        Every line by the best single candidate, as expected.
    answered_by
        Lines of each candidate.
    accuracy
        Expected share of right answers among those given, by the candidates that gave them.
    saved_usd, saved_interval_usd
        What the best single candidate was expected to cost more.
    asking_s, driver_s
        Seconds from the first question of this run to its last answer, and this process's own in that time.
    """

    answered: int
    failed: int
    cost_usd: float
    expected: Point
    best: Point
    answered_by: dict[str, int]
    accuracy: float
    saved_usd: float
    saved_interval_usd: tuple[float, float]
    asking_s: float
    driver_s: float
    doubted: int = 0
    rechecked: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        points = {"expected": self.expected.to_dict(), "best": self.best.to_dict()}
        return {**self.__dict__, **points, "saved_interval_usd": list(self.saved_interval_usd)}
