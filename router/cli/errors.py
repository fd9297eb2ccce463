"""Errors on the command line: one line, a hint, an exit code; never a traceback.

Exit codes: 0 done; 1 something failed while running (a backend, a missing dependency); 2 the caller is to
change something (an argument, a file).
"""

from __future__ import annotations

import os
from typing import Any

import typer
from typer.core import TyperGroup

from probes.errors import ArtefactError, ConfigError, ForesightError, UsageError
from router.cli.output import complain

RUNTIME, USAGE, INTERRUPTED = 1, 2, 130
DEBUG = "FORESIGHT_DEBUG"
"""Environment variable that lets tracebacks through."""


def tell(error: Exception) -> int:
    """Say on stderr what is wrong; returns the exit code."""
    if isinstance(error, ForesightError):
        complain(error.message, error.hint)
        return USAGE if isinstance(error, UsageError | ConfigError | ArtefactError) else RUNTIME
    ours = ("probes", "router", "serving", "eval")
    if isinstance(error, ModuleNotFoundError) and str(error.name).partition(".")[0] not in ours:
        hint = 'Run: pip install "foresight-router[all]"'
        complain(f"This command needs {error.name}, which is not installed.", hint)
    elif isinstance(error, OSError):
        complain(f"{error.filename}: {error.strerror}." if error.filename else str(error))
    else:
        complain(f"Unexpected {type(error).__name__}: {error}", f"Set {DEBUG}=1 for the traceback.")
    return RUNTIME


class ErrorGroup(TyperGroup):
    """A group of commands whose failures are told in plain words."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; whatever it raises becomes a line and an exit code."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            complain("Stopped.")
            raise typer.Exit(INTERRUPTED) from error
        except Exception as error:
            handled_by_typer = type(error).__module__.partition(".")[0] == "typer"
            if handled_by_typer or isinstance(error, BrokenPipeError) or os.environ.get(DEBUG):
                raise
            raise typer.Exit(tell(error)) from error
