"""What commands write: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

WIDTH = 160


def out() -> Console:
    """Results; where there is no terminal, wide enough for every table."""
    terminal = sys.stdout.isatty()
    return Console(file=sys.stdout, highlight=False, width=None if terminal else WIDTH)


def err() -> Console:
    """Messages and progress."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def complain(message: str, hint: str | None = None) -> None:
    """One line of error, and what to do about it."""
    console = err()
    console.print(f"[bold red]error:[/] {escape(message)}")
    if hint:
        console.print(f"[dim] hint:[/] {escape(hint)}")


def say(message: str) -> None:
    """One line that is no result."""
    err().print(escape(message))


def write_json(value: Any) -> None:
    """One JSON document on stdout; numbers that are not finite become null."""
    text = json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write(text + "\n")


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr (nothing where it is no terminal); yields a callable taking (done, all)."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=err(), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def money(usd: float) -> str:
    """US dollars with three significant digits, never in powers of ten."""
    if usd == 0 or not math.isfinite(usd):
        return "$0" if usd == 0 else "–"
    digits = max(0, 2 - math.floor(math.log10(abs(usd))))
    return f"${usd:,.{digits}f}"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
