"""Lines read by a Ray Data pipeline: what goes in are places in the file, what comes out are numbers.

The driver finds lines and faults in one pass; actors open the file themselves (on a cluster: on storage that
all machines see), encode and price. Lines are read in the same company as by the engine `local`, so that
activations are the same to the last digit on the same kind of machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from router.allocation.spending import Goal
from router.router import Router
from serving.batch.files import opened
from serving.batch.reading.lines import Fault, Line, parse_line
from serving.batch.reading.survey import Survey, joined
from serving.batch.reading.surveyor import Surveyor, chunks

LoadRouter = Callable[[], Router]
"""Makes the router where it is needed; called once in each actor."""


class RayReader:
    """Reads a file of lines on a cluster that is up.

    Parameters
    ----------
    load
        For the actors.
    goal
        As for `Surveyor`.
    candidates
        How many the pool has.
    workers
        Actors that encode.
    """

    def __init__(self, load: LoadRouter, goal: Goal | None, candidates: int, workers: int) -> None:
        self._load, self._goal, self._candidates, self._workers = load, goal, candidates, workers

    def survey(self, path: Path, progress: Callable[[int], None] | None = None) -> Survey:
        """One pass over a JSONL file; an actor that dies is replaced and its lines are read again."""
        import ray.data

        places, faults = _places(path)
        if not places:
            return joined([_faulty(faults, self._candidates)], self._candidates)
        blocks = min(len(places), 4 * self._workers)
        read = ray.data.from_items(places, override_num_blocks=blocks).map_batches(
            _Reading,
            fn_constructor_args=(self._load, self._goal, str(path.resolve())),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=self._workers),
            num_cpus=1,
        )
        parts, lines = [_faulty(faults, self._candidates)], 0
        for row in read.iter_rows():
            parts.append(Survey.load(BytesIO(row["survey"])))
            lines += len(parts[-1])
            if progress:
                progress(lines)
        return joined(parts, self._candidates)


class _Reading:
    """An actor of the pipeline."""

    def __init__(self, load: LoadRouter, goal: Goal | None, path: str) -> None:
        self._surveyor = Surveyor(load(), goal)
        self._handle = opened(Path(path))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        surveys = [self._part(*place) for place in zip(batch["numbers"], batch["offsets"], strict=True)]
        return {"survey": np.array(surveys, dtype=object)}

    def _part(self, numbers: Any, offsets: Any) -> bytes:
        items = list(self._lines(numbers, offsets))
        target = BytesIO()
        self._surveyor.part(items).dump(target)
        return target.getvalue()

    def _lines(self, numbers: Any, offsets: Any) -> Iterator[Line | Fault]:
        for number, offset in zip(numbers, offsets, strict=True):
            self._handle.seek(int(offset))
            yield parse_line(int(number), int(offset), self._handle.readline())


def _places(path: Path) -> tuple[list[dict[str, list[int]]], list[Fault]]:
    """Numbers and offsets of the lines that are read together, and the lines that cannot be run."""
    places, faults = [], []
    for chunk in chunks(path):
        faults += [item for item in chunk if isinstance(item, Fault)]
        lines = [item for item in chunk if isinstance(item, Line)]
        if lines:
            places.append(
                {"numbers": [line.number for line in lines], "offsets": [line.offset for line in lines]}
            )
    return places, faults


def _faulty(faults: list[Fault], candidates: int) -> Survey:
    return joined([], candidates).with_faults(faults)
