"""What a person sees of a batch job: its plan, its progress, what it came to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from router.cli.output import err, money, out, say

if TYPE_CHECKING:
    from router.allocation.preview import Point
    from serving.batch.running.engine import Progress
    from serving.batch.summary import Plan, Summary


def reading() -> Callable[[int], None]:
    """Says how many lines were read, now and then."""

    def told(lines: int) -> None:
        if lines % 10_000 < 256 and lines >= 10_000:
            say(f"read {lines:,} lines")

    return told


@contextmanager
def progress() -> Iterator[Callable[[Progress], None] | None]:
    """Money, speed and time left on one line of a terminal."""
    console = err()
    if not console.is_terminal:
        yield None
        return
    with console.status("Asking") as shown:
        yield lambda now: shown.update(
            f"{now.done:,}/{now.total:,} lines, {money(now.spent_usd)}, {now.speed:.0f}/s,"
            f" {now.left_s:.0f} s left" + (f", {now.rechecked:,} asked again" if now.rechecked else "")
        )


def draw_plan(plan: Plan) -> None:
    """The ways to run a job, as a table."""
    for fault in plan.faults[:20]:
        say(str(fault))
    if plan.ways is None:
        say(f"No line can be run; {len(plan.faults)} faults.")
        return
    table = Table("", "accuracy", "95%", "cost", "95%", "lines", title=f"{plan.lines:,} lines")
    points = [plan.ways.best, *plan.ways.frontier, *([plan.chosen] if plan.chosen else [])]
    for point in points:
        table.add_row(*_cells(point), style="bold green" if point is plan.chosen else "")
    out().print(table)
    if (again := plan.second_look) is not None:
        say(
            f"--self-check: {again.lines:,} lines have a likelier candidate; asking all of them once more"
            f" would cost {money(again.cost_usd)} on top. A budget is kept all the same."
        )
    if plan.faults:
        say(f"{len(plan.faults)} lines cannot be run; --skip-bad leaves them out.")


def _cells(point: Point) -> Iterator[str]:
    low, high = point.accuracy_interval
    cheap, dear = point.cost_interval_usd
    yield from (point.name, f"{point.accuracy:.1%}", f"{low:.1%} to {high:.1%}")
    yield from (money(point.cost_usd), f"{money(cheap)} to {money(dear)}")
    yield ", ".join(f"{name} {count}" for name, count in point.lines.items() if count)


def draw_summary(summary: Summary, output: Path) -> None:
    """What a job came to, in a sentence."""
    low, high = (money(max(0.0, end)) for end in summary.saved_interval_usd)
    again = f" {summary.doubted:,} in doubt, {summary.rechecked:,} asked again;" if summary.doubted else ""
    out().print(
        f"{summary.answered:,} answered, {summary.failed:,} failed;{again} {money(summary.cost_usd)} spent;"
        f" expected accuracy {summary.accuracy:.1%}; {summary.best.name} costs {money(summary.best.cost_usd)}"
        f" (saved {money(max(0.0, summary.saved_usd))}, 95%: {low} to {high}); see {output}"
    )
