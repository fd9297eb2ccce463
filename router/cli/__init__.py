"""The command ``foresight``."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Entry point of the console script."""
    from router.cli.app import app

    app(prog_name="foresight")
