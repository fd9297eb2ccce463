"""How far a job is, read from its files without disturbing whoever runs it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from probes.errors import UsageError
from serving.batch.place import Place


@dataclass(frozen=True)
class Status:
    """A job's state.

    Attributes
    ----------
    finished
        Whether its files are written.
    lines
        Lines that can be run; None before they are all read.
    answered, refused
        Lines with an answer, and with an error for good.
    rechecked
        Lines with a second answer.
    spent_usd
        Real cost so far.
    """

    finished: bool
    lines: int | None
    answered: int
    refused: int
    spent_usd: float
    rechecked: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


def status_of(output: Path) -> Status:
    """The state of the job that writes to `output`; `UsageError` if there is none."""
    place = Place(output)
    if not place.journal.is_file():
        raise UsageError(f"No job has written to {output}.", param="output", hint="Name the output of a run.")
    answered = refused = rechecked = 0
    spent_usd = 0.0
    with place.journal.open("rb") as handle:
        for raw in handle:
            if not raw.endswith(b"\n"):  # being written at this moment
                break
            row = json.loads(raw)
            again = bool(row.get("again"))
            rechecked += again
            answered += "output" in row and not again
            refused += "error" in row
            spent_usd += row.get("cost_usd", 0.0)
    lines = None
    if place.survey.is_file():
        with np.load(place.survey, allow_pickle=False) as stored:
            lines = len(stored["numbers"])
    return Status(place.manifest.is_file(), lines, answered, refused, spent_usd, rechecked)
