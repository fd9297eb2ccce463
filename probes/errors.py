"""Every error that Foresight raises on purpose.

::

    ForesightError
    ├── UsageError          the caller's mistake: an argument, a request
    │   └── DataError       the content of a table, a file or an array
    ├── ConfigError         a pool or settings file
    ├── ArtefactError       a router artefact or weights that do not fit
    ├── BackendError        a backend that failed
    └── MissingExtraError   an optional dependency that is not installed

HTTP statuses live in `serving`, exit codes in `router.cli`.
"""

from __future__ import annotations


class ForesightError(Exception):
    """Root of the tree.

    Parameters
    ----------
    message
        What is wrong, with the value at fault, in one sentence.
    param
        Dotted name of the field or argument at fault.
    hint
        What to do about it.
    """

    def __init__(self, message: str, *, param: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.hint = hint


class UsageError(ForesightError):
    """The caller gave a bad argument or request."""


class DataError(UsageError, ValueError):
    """A table, file or array holds something that it must not; a ValueError, as scikit-learn expects."""


class ConfigError(ForesightError):
    """A pool or settings file is wrong."""


class ArtefactError(ForesightError):
    """A router artefact or a set of weights does not fit."""


class BackendError(ForesightError):
    """A backend failed."""


class MissingExtraError(ForesightError):
    """An optional dependency is not installed; the hint holds the line that installs it."""
