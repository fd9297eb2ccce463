"""One measured claim, and the setting in which a benchmark measures it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from probes.errors import UsageError


@dataclass(frozen=True)
class Row:
    """One line of a benchmark's table.

    Attributes
    ----------
    what : str
        What is measured, and on which data.
    reach : str
        What it should reach, in words.
    measured : str
        What came out, with its unit and its interval where there is one.
    met : bool or None
        Whether the reach was met; None where this machine or this data cannot tell (`measured` says why).
    """

    what: str
    reach: str
    measured: str
    met: bool | None


@dataclass(frozen=True)
class Setting:
    """Where a benchmark finds its data and how much it may do.

    Attributes
    ----------
    data : Path or None
        Folder of outcome sets, one folder each; rows that need a missing one stay unmeasured.
    work : Path
        Folder for what is kept between runs (activations, graded answers, small models).
    quick : bool
        A smaller run that checks the benchmark itself; its figures are not to be quoted.
    """

    data: Path | None
    work: Path
    quick: bool = False

    def outcome_set(self, name: str) -> Path | None:
        """The folder of an outcome set, or None where it is not given."""
        if self.data is None or not (self.data / name).is_dir():
            return None
        return self.data / name

    def need(self, name: str) -> Path:
        """The folder of an outcome set that a benchmark cannot do without.

        Raises
        ------
        UsageError
            When it is not there.
        """
        found = self.outcome_set(name)
        if found is None:
            raise UsageError(
                f"The outcome set {name!r} is not there.", hint="Give its parent with --data FOLDER."
            )
        return found


Benchmark = Callable[[Setting], Iterator[Row]]
"""Yields rows as they are measured, so that a long run shows what it has."""
